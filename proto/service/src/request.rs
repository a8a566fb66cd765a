//! Request ids for clients: UUIDv7, so that a service can tell how old one is.

/// A fresh id. Keep it for as long as the request is repeated: the id is what makes repeats safe.
#[must_use]
pub fn new_request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use stockmesh_types::RequestId;

    #[test]
    fn ids_are_fresh_and_what_services_take() {
        let (first, second) = (super::new_request_id(), super::new_request_id());
        assert_ne!(first, second);
        RequestId::new(&first).expect("a UUIDv7");
    }
}
