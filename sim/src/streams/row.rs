//! CSV, one line at a time: a quote that is never closed spoils its own line and no other.

/// Where the wanted columns stand in this file.
pub struct Columns<const N: usize> {
    at: [usize; N],
    width: usize,
}

impl<const N: usize> Columns<N> {
    /// Finds columns by name in a header; each has several spellings. Case, blanks and underscores don't matter.
    ///
    /// # Errors
    /// The first spelling of the column that is missing.
    pub fn find(header: &str, names: &[&[&'static str]; N]) -> Result<Self, &'static str> {
        let plain =
            |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let present: Vec<String> = split(header).unwrap_or_default().iter().map(|name| plain(name)).collect();
        let mut at = [0; N];
        for (spellings, at) in names.iter().zip(&mut at) {
            let found = present.iter().position(|name| spellings.iter().any(|spelling| plain(spelling) == *name));
            *at = found.ok_or_else(|| spellings.first().copied().unwrap_or_default())?;
        }
        Ok(Self { at, width: present.len() })
    }

    /// The wanted fields of a line, trimmed.
    ///
    /// # Errors
    /// What is wrong with the line, for people.
    pub fn fields(&self, line: &str) -> Result<[String; N], String> {
        let fields = split(line)?;
        if fields.len() != self.width {
            return Err(format!("{} columns instead of {}", fields.len(), self.width));
        }
        Ok(self.at.map(|at| fields[at].trim().to_owned()))
    }
}

/// Splits a line of CSV (RFC 4180): fields in quotes may hold commas, and quotes written twice.
///
/// # Errors
/// A quote that is not closed, or something after the closing one.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::with_capacity(12);
    let mut rest = line.chars().peekable();
    loop {
        let mut field = String::new();
        if rest.peek() == Some(&'"') {
            rest.next();
            loop {
                match rest.next() {
                    Some('"') if rest.peek() == Some(&'"') => {
                        rest.next();
                        field.push('"');
                    }
                    Some('"') => break,
                    Some(other) => field.push(other),
                    None => return Err("a quote is not closed on its line".to_owned()),
                }
            }
            match rest.next() {
                None => {
                    fields.push(field);
                    return Ok(fields);
                }
                Some(',') => {}
                Some(_) => return Err("text after a closing quote".to_owned()),
            }
            fields.push(field);
            continue;
        }
        loop {
            match rest.next() {
                Some(',') => break,
                Some(other) => field.push(other),
                None => {
                    fields.push(field);
                    return Ok(fields);
                }
            }
        }
        fields.push(field);
    }
}

/// A time as the files write it, as milliseconds since 1970 (taken as UTC): `2010-12-01 08:26:00`, `2010-12-01T08:26:00Z`,
/// `12/1/2010 8:26` (month first, as UCI's spreadsheet shows it).
#[must_use]
pub fn time_ms(text: &str) -> Option<i64> {
    let text = text.trim_end_matches('Z');
    let (date, time) = text.split_once([' ', 'T'])?;
    let date = if date.contains('/') {
        let mut parts = date.split('/').map(|part| part.parse::<i64>().ok());
        let (month, day, year) = (parts.next()??, parts.next()??, parts.next()??);
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        date.to_owned()
    };
    let days = stockmesh_types::BusinessDate::parse(&date).ok()?.days();
    let mut parts = time.trim().split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = match parts.next() {
        Some(second) => second?,
        None => 0,
    };
    let within = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    (within && parts.next().is_none()).then_some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_rfc_4180_says() {
        let cases: [(&str, Result<Vec<&str>, &str>); 9] = [
            ("a,b,c", Ok(vec!["a", "b", "c"])),
            ("", Ok(vec![""])),
            (",", Ok(vec!["", ""])),
            ("\"a,b\",c", Ok(vec!["a,b", "c"])),
            ("\"say \"\"hi\"\"\",c", Ok(vec!["say \"hi\"", "c"])),
            ("6\" RULER,c", Ok(vec!["6\" RULER", "c"])),
            ("a,\"b", Err("not closed")),
            ("\"a\"b,c", Err("after a closing quote")),
            ("a,\"\"", Ok(vec!["a", ""])),
        ];
        for (line, want) in cases {
            match (split(line), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{line}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{line}: {got}"),
                (got, want) => panic!("{line}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn columns_are_found_by_any_spelling_and_in_any_order() {
        let names: [&[&str]; 2] = [&["UnitPrice", "Price"], &["CustomerID", "Customer ID"]];
        let columns = Columns::find("Customer ID,X,price", &names).unwrap();
        assert_eq!(columns.fields("17850, ,2.55").unwrap(), ["2.55", "17850"]);
        assert_eq!(columns.fields("17850,2.55").unwrap_err(), "2 columns instead of 3");
        assert_eq!(Columns::find("a,b", &names).err(), Some("UnitPrice"));
    }

    #[test]
    fn times_are_read_in_three_spellings() {
        let want = Some(1_291_191_960_000);
        for text in ["2010-12-01 08:26:00", "2010-12-01T08:26:00Z", "12/1/2010 8:26"] {
            assert_eq!(time_ms(text), want, "{text}");
        }
        for wrong in
            ["", "2010-12-01", "2010-13-01 08:26:00", "2010-12-01 24:00:00", "yesterday 8:00", "2010-12-01 08:26:00:00"]
        {
            assert_eq!(time_ms(wrong), None, "{wrong}");
        }
    }
}
