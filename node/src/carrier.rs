//! The carrier port: who takes parcels on. A carrier gives a tracking number; labels are printed from it.
//!
//! Built in is [`TestCarrier`], whose numbers depend on the shipment alone: asked again, it gives the same one.
//!
//! Must not know: stock, gRPC.

use sha2::{Digest, Sha256};
use stockmesh_types::{NodeId, OrderId, Reason, Reject};

/// A parcel that a carrier is asked to take on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Node that sends it.
    pub node: NodeId,
    /// Shipment: the same parcel whenever it is asked about.
    pub shipment_id: OrderId,
    /// Order.
    pub order_id: OrderId,
    /// Country and postal code that it goes to.
    pub ship_to: String,
    /// Weight, grams.
    pub weight_grams: i64,
}

/// Takes parcels on.
pub trait Carrier: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The parcel's tracking number. Asked again for the same shipment, it is the same.
    ///
    /// # Errors
    /// Why the carrier does not take it.
    fn take_on(&self, parcel: &Parcel) -> Result<String, Reject>;
}

/// Takes every parcel of at most 31.5 kg.
#[derive(Clone, Copy, Debug)]
pub struct TestCarrier;

/// The heaviest parcel that [`TestCarrier`] takes.
pub const TEST_CARRIER_MAX_GRAMS: i64 = 31_500;

impl Carrier for TestCarrier {
    fn name(&self) -> &'static str {
        "test"
    }

    fn take_on(&self, parcel: &Parcel) -> Result<String, Reject> {
        if parcel.weight_grams > TEST_CARRIER_MAX_GRAMS {
            let message = format!(
                "the parcel weighs {} g, and the carrier takes at most {TEST_CARRIER_MAX_GRAMS} g: ship it in parts",
                parcel.weight_grams
            );
            return Err(Reject::new(Reason::InvalidValue, message).field("weight_grams"));
        }
        let digest = Sha256::digest(format!("{}/{}", parcel.node, parcel.shipment_id));
        let number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(format!("TEST{:015}", number % 1_000_000_000_000_000))
    }
}

/// The carrier with a name; empty: the first.
///
/// # Errors
/// [`Reason::InvalidValue`] for one that is not built in.
pub fn named(name: &str) -> Result<&'static dyn Carrier, Reject> {
    match name {
        "" | "test" => Ok(&TestCarrier),
        other => {
            let message = format!("carrier {other:?} is not known here: `test` is built in");
            Err(Reject::new(Reason::InvalidValue, message).field("carrier"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_shipment_has_the_same_number() {
        let parcel = |shipment: &str, weight_grams| Parcel {
            node: NodeId::new("dc-1").unwrap(),
            shipment_id: OrderId::new(shipment).unwrap(),
            order_id: OrderId::new("o-1").unwrap(),
            ship_to: "GB".into(),
            weight_grams,
        };
        let carrier = named("").unwrap();
        let first = carrier.take_on(&parcel("s-1", 100)).unwrap();
        assert_eq!(carrier.take_on(&parcel("s-1", 200)).unwrap(), first);
        assert_ne!(carrier.take_on(&parcel("s-2", 100)).unwrap(), first);
        assert_eq!((first.len(), carrier.name()), (19, "test"));
        assert!(carrier.take_on(&parcel("s-1", TEST_CARRIER_MAX_GRAMS + 1)).is_err());
        assert!(named("pigeon").is_err());
    }
}
