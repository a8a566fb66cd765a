//! Who calls: the principals that a client certificate proves.
//!
//! A certificate names them as URIs in its subject alternative names, `stockmesh://<kind>/<id>`: one process may speak for
//! several (a host of many nodes). What they may do is the service's business.

use stockmesh_types::{Principal, PrincipalKind, Reason, Reject};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::Security;

/// Scheme of the URIs.
const SCHEME: &str = "stockmesh://";

/// The URI by which a certificate names a principal.
#[must_use]
pub fn uri_of(principal: &Principal) -> String {
    format!("{SCHEME}{principal}")
}

/// Reads such a URI; `None` for any other.
#[must_use]
pub fn from_uri(uri: &str) -> Option<Principal> {
    let (kind, id) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let sound = !id.is_empty()
        && id.len() <= 64
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
    Some(Principal { kind: PrincipalKind::from_word(kind)?, id: sound.then(|| id.to_owned())? })
}

/// The principals in a DER certificate, in its order; empty when it names none or can't be parsed.
pub(crate) fn principals_of(der: &[u8]) -> Vec<Principal> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => from_uri(uri),
        _ => None,
    });
    uris.collect()
}

/// The authenticated caller of one request. Holds one principal at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who the connection proved to be.
    pub principals: Vec<Principal>,
}

impl Caller {
    /// From the connection that the request came on.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`] when its certificate names no principal.
    pub fn of<T>(request: &tonic::Request<T>, security: &Security) -> Result<Self, Reject> {
        let principals = match security {
            Security::InsecureDev => vec![Principal::insecure()],
            Security::Mtls(_) => {
                let chain = request.peer_certs();
                chain.as_ref().and_then(|chain| chain.first()).map(|der| principals_of(der)).unwrap_or_default()
            }
        };
        if principals.is_empty() {
            return Err(Reject::new(
                Reason::Unauthenticated,
                "the client certificate names no principal: it needs a URI stockmesh://<kind>/<id> among its names \
                 (`certs issue` makes such certificates)",
            ));
        }
        Ok(Self { principals })
    }

    /// The first principal: the one that records name.
    ///
    /// # Panics
    /// Never for a caller made by [`Self::of`], which has one at least.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        self.principals.first().expect("a caller has one principal at least")
    }

    /// Whether the caller is this one. An unauthenticated caller on loopback is everyone.
    #[must_use]
    pub fn is(&self, kind: PrincipalKind, id: &str) -> bool {
        self.principals.iter().any(|principal| {
            principal.kind == PrincipalKind::Insecure || (principal.kind == kind && principal.id == id)
        })
    }

    /// Whether the caller is of one of these kinds. An unauthenticated caller on loopback is of every kind.
    #[must_use]
    pub fn has_kind(&self, kinds: &[PrincipalKind]) -> bool {
        self.principals
            .iter()
            .any(|principal| principal.kind == PrincipalKind::Insecure || kinds.contains(&principal.kind))
    }

    /// Refuses a caller of none of these kinds.
    ///
    /// # Errors
    /// [`Reason::NotAllowed`], naming the caller and who may.
    pub fn require(&self, kinds: &[PrincipalKind]) -> Result<(), Reject> {
        if self.has_kind(kinds) {
            return Ok(());
        }
        let allowed: Vec<_> = kinds.iter().map(|kind| kind.word()).collect();
        Err(Reject::new(
            Reason::NotAllowed,
            format!("{} may not do this; it takes a certificate of kind {}", self.principal(), allowed.join(" or ")),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uris: &[&str]) -> Caller {
        Caller { principals: uris.iter().map(|uri| from_uri(uri).expect(uri)).collect() }
    }

    #[test]
    fn uris_are_read_strictly() {
        let node = Principal { kind: PrincipalKind::Node, id: "dc-1".to_owned() };
        assert_eq!(from_uri(&uri_of(&node)), Some(node));
        let wrong = [
            "",
            "stockmesh://",
            "stockmesh://node",
            "stockmesh://node/",
            "stockmesh://node/a/b",
            "stockmesh://insecure/loopback",
            "stockmesh://Node/dc-1",
            "https://node/dc-1",
            "stockmesh://node/dc 1",
            "stockmesh://pirate/dc-1",
        ];
        for uri in wrong {
            assert_eq!(from_uri(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_caller_is_each_of_its_principals_and_nobody_else() {
        let caller = caller(&["stockmesh://node/s1", "stockmesh://node/s2"]);
        assert!(caller.is(PrincipalKind::Node, "s2"));
        assert!(!caller.is(PrincipalKind::Node, "s3"));
        assert!(!caller.is(PrincipalKind::User, "s1"));
        assert_eq!(caller.principal().id, "s1");
        assert!(caller.require(&[PrincipalKind::User, PrincipalKind::Node]).is_ok());
        let refused = caller.require(&[PrincipalKind::User, PrincipalKind::System]).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAllowed);
        assert!(refused.message.contains("node/s1") && refused.message.contains("user or system"), "{refused}");
    }

    #[test]
    fn without_authentication_on_loopback_everyone_is_everyone() {
        let request = tonic::Request::new(());
        let caller = Caller::of(&request, &Security::InsecureDev).unwrap();
        assert!(caller.is(PrincipalKind::Finance, "main") && caller.has_kind(&[PrincipalKind::Node]));
        assert_eq!(caller.principal(), &Principal::insecure());
    }
}
