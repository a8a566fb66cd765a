//! Pages of lists: opaque tokens that say after which key the next page begins, and page sizes.
//!
//! A token names the kind of list that gave it, so that one list's token is refused by another.

use std::fmt::Display;
use std::fmt::Write as _;
use std::str::FromStr;

use stockmesh_types::{Reason, Reject};

/// Page size when a request asks for 0.
pub const DEFAULT_PAGE_SIZE: usize = 100;
/// Largest page size.
pub const MAX_PAGE_SIZE: usize = 1000;

/// Separates the kind of list from the key; no kind holds it.
const SEPARATOR: char = '\u{1f}';

/// The token of the page after `after`.
#[must_use]
pub fn encode_token(kind: &str, after: impl Display) -> String {
    format!("{kind}{SEPARATOR}{after}").bytes().fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Key after which the page begins; `None` for the empty token, which is the first page.
///
/// # Errors
/// [`Reason::InvalidPageToken`] for anything that this kind of list did not give.
pub fn decode_token<T: FromStr>(kind: &str, token: &str) -> Result<Option<T>, Reject> {
    if token.is_empty() {
        return Ok(None);
    }
    let key = decode_text(token).and_then(|text| {
        let (given_kind, after) = text.split_once(SEPARATOR)?;
        if given_kind == kind { after.parse().ok() } else { None }
    });
    key.map(Some).ok_or_else(|| {
        Reject::new(
            Reason::InvalidPageToken,
            "the page token is not one that this list gave: take it from next_page_token, or leave it empty to begin anew",
        )
        .field("page_token")
    })
}

fn decode_text(token: &str) -> Option<String> {
    // Far longer than any key: nobody makes us parse megabytes.
    if token.len() > 2048 || !token.len().is_multiple_of(2) || !token.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..token.len()).step_by(2).map(|at| u8::from_str_radix(&token[at..at + 2], 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

/// The page size that a request means: 0 is [`DEFAULT_PAGE_SIZE`], more than [`MAX_PAGE_SIZE`] is that.
///
/// # Errors
/// [`Reason::InvalidValue`] when it is negative.
pub fn page_size(wanted: i32) -> Result<usize, Reject> {
    match usize::try_from(wanted) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
        Err(_) => Err(Reject::new(Reason::InvalidValue, format!("page_size is {wanted}; it is 0 to {MAX_PAGE_SIZE}"))
            .field("page_size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_belong_to_their_list() {
        let token = encode_token("orders", "ORD/ä-1");
        assert_eq!(decode_token::<String>("orders", &token).unwrap().as_deref(), Some("ORD/ä-1"));
        assert_eq!(decode_token::<u64>("tasks", &encode_token("tasks", 42_u64)).unwrap(), Some(42));
        assert_eq!(decode_token::<u64>("tasks", "").unwrap(), None);
        let numbers_wanted = encode_token("tasks", "no number");
        for (kind, wrong) in [
            ("items", token.as_str()),
            ("tasks", numbers_wanted.as_str()),
            ("tasks", "abc"),
            ("tasks", "zz"),
            ("tasks", "€€"),
            ("tasks", "+1+1"),
            ("tasks", "7461736b73"),
            ("tasks", &"ff".repeat(4000)),
        ] {
            let reject = decode_token::<u64>(kind, wrong).unwrap_err();
            assert_eq!((reject.reason, reject.field.as_str()), (Reason::InvalidPageToken, "page_token"), "{wrong}");
        }
    }

    #[test]
    fn page_sizes() {
        let cases = [(0, Some(100)), (1, Some(1)), (1000, Some(1000)), (1001, Some(1000)), (-1, None)];
        for (wanted, expected) in cases {
            assert_eq!(page_size(wanted).ok(), expected, "{wanted}");
        }
        assert_eq!(page_size(i32::MIN).unwrap_err().reason, Reason::InvalidValue);
    }
}
