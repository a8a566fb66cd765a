//! Principals: who a command comes from, as the connection proved it.

use std::fmt;

/// What kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A node.
    Node,
    /// A coordinator replica.
    Coordinator,
    /// Finance.
    Finance,
    /// An order router, point of sale or other system.
    System,
    /// Nobody was authenticated (`--insecure-dev`).
    Insecure,
}

impl PrincipalKind {
    /// The word in a certificate's URI.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Node => "node",
            Self::Coordinator => "coordinator",
            Self::Finance => "finance",
            Self::System => "system",
            Self::Insecure => "insecure",
        }
    }

    /// Reads the word of a certificate. `insecure` is never read: it can't be claimed.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::User, Self::Node, Self::Coordinator, Self::Finance, Self::System]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// The authenticated caller of a command. Written as `node/dc-1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// Kind.
    pub kind: PrincipalKind,
    /// Name within the kind.
    pub id: String,
}

impl Principal {
    /// A caller on loopback that nobody authenticated.
    #[must_use]
    pub fn insecure() -> Self {
        Self { kind: PrincipalKind::Insecure, id: "loopback".to_owned() }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.word(), self.id)
    }
}
