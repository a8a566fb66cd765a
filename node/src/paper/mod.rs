//! Paper: pick lists, packing slips and labels, as text, PDF and ZPL.
//!
//! A document is pages of lines first ([`Sheet`]), and takes a form afterwards.
//!
//! Must not know: stock; what is printed is handed in.

mod pdf;
mod zpl;

pub use pdf::to_pdf;
pub use zpl::Label;

/// A document: its title stands on every page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Title.
    pub title: String,
    /// Lines, of any length: longer ones than a page is wide are broken.
    pub lines: Vec<String>,
}

impl Sheet {
    /// As plain text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.title, "=".repeat(self.title.chars().count()));
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}
