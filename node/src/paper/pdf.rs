//! PDF 1.4, as small as it can be: text in Courier on A4, as many pages as it takes.
//!
//! Characters beyond Latin-1 become question marks: the standard fonts have no others.
//!
//! Must not know: what is printed.

use std::fmt::Write;

use super::Sheet;

/// Characters in a line.
const COLUMNS: usize = 92;
/// Lines on a page, below its title.
const ROWS: usize = 64;

/// Prints a sheet.
#[must_use]
pub fn to_pdf(sheet: &Sheet) -> Vec<u8> {
    let rows: Vec<String> = sheet.lines.iter().flat_map(|line| broken(line)).collect();
    let pages: Vec<&[String]> = if rows.is_empty() { vec![&[]] } else { rows.chunks(ROWS).collect() };
    // 1 catalog, 2 page tree, 3 and 4 fonts, then a page and its content each.
    let mut objects: Vec<Vec<u8>> = vec![b"<< /Type /Catalog /Pages 2 0 R >>".to_vec()];
    let kids: Vec<String> = (0..pages.len()).map(|n| format!("{} 0 R", 5 + 2 * n)).collect();
    objects.push(format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()).into_bytes());
    for font in ["Courier", "Courier-Bold"] {
        let font = format!("<< /Type /Font /Subtype /Type1 /BaseFont /{font} /Encoding /WinAnsiEncoding >>");
        objects.push(font.into_bytes());
    }
    for (n, rows) in pages.iter().enumerate() {
        let content = content(&sheet.title, rows, n + 1, pages.len());
        objects.push(
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> \
                 /Contents {} 0 R >>",
                6 + 2 * n
            )
            .into_bytes(),
        );
        let mut stream = format!("<< /Length {} >>\nstream\n", content.len()).into_bytes();
        stream.extend_from_slice(&content);
        stream.extend_from_slice(b"\nendstream");
        objects.push(stream);
    }
    assemble(&objects)
}

/// Objects, the table of where they stand, and the trailer.
fn assemble(objects: &[Vec<u8>]) -> Vec<u8> {
    // The second line says that bytes beyond ASCII may follow.
    let mut file = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n".to_vec();
    let mut offsets = Vec::with_capacity(objects.len());
    for (n, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        file.extend_from_slice(format!("{} 0 obj\n", n + 1).as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let table = file.len();
    let mut tail = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for offset in offsets {
        // Writing to a string can't fail.
        let _ = writeln!(tail, "{offset:010} 00000 n ");
    }
    let _ = write!(tail, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1);
    file.extend_from_slice(tail.as_bytes());
    file
}

fn content(title: &str, rows: &[String], page: usize, pages: usize) -> Vec<u8> {
    let mut content = b"BT /F2 12 Tf 40 800 Td ".to_vec();
    show(&mut content, &format!("{title}   {page}/{pages}"));
    content.extend_from_slice(b" ET\nBT /F1 9 Tf 11 TL 40 778 Td\n");
    for row in rows {
        show(&mut content, row);
        content.extend_from_slice(b" T*\n");
    }
    content.extend_from_slice(b"ET");
    content
}

/// A string in Latin-1, with what has a meaning in strings escaped.
fn show(content: &mut Vec<u8>, text: &str) {
    content.push(b'(');
    for character in text.chars() {
        let byte = u8::try_from(u32::from(character)).ok().filter(|byte| *byte >= 0x20 && !(0x7f..0xa0).contains(byte));
        match byte.unwrap_or(b'?') {
            special @ (b'(' | b')' | b'\\') => content.extend_from_slice(&[b'\\', special]),
            byte => content.push(byte),
        }
    }
    content.extend_from_slice(b") Tj");
}

/// A line in pieces that fit; an empty one stays a line.
fn broken(line: &str) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(COLUMNS).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets_point_at_objects(file: &[u8]) {
        // Offsets are of bytes: every byte is one here.
        let text: String = file.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect();
        let table: usize = text.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
        assert!(text[table..].starts_with("xref\n"), "startxref points at the table");
        let entries: Vec<&str> = text[table..].lines().skip(3).take_while(|line| line.ends_with("n ")).collect();
        for (n, entry) in entries.iter().enumerate() {
            let offset: usize = entry[..10].parse().unwrap();
            assert!(text[offset..].starts_with(&format!("{} 0 obj\n", n + 1)), "object {}", n + 1);
        }
        assert!(entries.len() >= 6);
    }

    #[test]
    fn files_are_sound_however_long_and_odd_the_text() {
        for (lines, pages) in [(0, 1), (1, 1), (ROWS, 1), (ROWS + 1, 2), (1_000, 16)] {
            let lines = (0..lines).map(|n| format!("line {n} (brackets) \\ and caf\u{e9} \u{4e2d}")).collect();
            let file = to_pdf(&Sheet { title: "Pick list".into(), lines });
            offsets_point_at_objects(&file);
            let text: String = file.iter().map(|byte| char::from(*byte)).collect();
            assert_eq!(text.matches("/Type /Page ").count(), pages);
            assert!(text.contains(&format!("/Count {pages} ")));
        }
        let file = to_pdf(&Sheet {
            title: "T".into(),
            lines: vec!["x".repeat(2 * COLUMNS + 1), "(a)\\\u{4e2d}\u{e9}".into()],
        });
        let text: String = file.iter().map(|byte| char::from(*byte)).collect();
        assert_eq!(text.matches(" T*").count(), 4, "long lines are broken");
        assert!(text.contains("(\\(a\\)\\\\?\u{e9}) Tj"));
    }
}
