//! Shipping labels: for label printers as ZPL II, for others as a sheet.
//!
//! Must not know: carriers; what stands on a label is handed in.

use super::Sheet;

/// What stands on a label. No name and no street: they are printed by who keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Carrier.
    pub carrier: String,
    /// Tracking number; printed as a barcode too.
    pub tracking: String,
    /// Shipment.
    pub shipment_id: String,
    /// Order.
    pub order_id: String,
    /// Country and postal code.
    pub ship_to: String,
    /// Node that it comes from.
    pub node: String,
    /// Weight in grams.
    pub weight_grams: i64,
}

impl Label {
    fn rows(&self) -> Vec<(&'static str, String)> {
        vec![
            ("to", self.ship_to.clone()),
            ("from", self.node.clone()),
            ("order", self.order_id.clone()),
            ("shipment", self.shipment_id.clone()),
            ("weight", format!("{}.{:03} kg", self.weight_grams / 1_000, self.weight_grams % 1_000)),
        ]
    }

    /// For a label printer of 203 dpi, on 4 x 6 inches.
    #[must_use]
    pub fn to_zpl(&self) -> String {
        let mut zpl = String::from("^XA\n^CI28\n^PW812\n^LL1218\n");
        zpl.push_str(&format!("^FO40,40^A0N,60,60^FH^FD{}^FS\n", field(&self.carrier)));
        for (n, (name, value)) in self.rows().into_iter().enumerate() {
            let y = 140 + 60 * n;
            zpl.push_str(&format!("^FO40,{y}^A0N,36,36^FH^FD{name}: {}^FS\n", field(&value)));
        }
        zpl.push_str(&format!("^FO40,520^BY3^BCN,200,Y,N,N^FH^FD{}^FS\n^XZ\n", field(&self.tracking)));
        zpl
    }

    /// As a sheet.
    #[must_use]
    pub fn to_sheet(&self) -> Sheet {
        let rows = self.rows().into_iter().map(|(name, value)| format!("{name:<9} {value}"));
        let lines = std::iter::once(format!("{:<9} {}", "tracking", self.tracking)).chain(rows).collect();
        Sheet { title: self.carrier.clone(), lines }
    }
}

/// A field's data: what would be read as a command is written in hexadecimal, which `^FH` allows.
fn field(text: &str) -> String {
    let mut data = String::with_capacity(text.len());
    for character in text.chars().filter(|character| !character.is_control()) {
        match character {
            '^' | '~' | '_' | '\\' => data.push_str(&format!("_{:02X}", u32::from(character))),
            other => data.push(other),
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_can_not_become_commands() {
        let label = Label {
            carrier: "test".into(),
            tracking: "T1^XZ".into(),
            shipment_id: "s_1".into(),
            order_id: "o-1~".into(),
            ship_to: "GB SW1".into(),
            node: "dc-1".into(),
            weight_grams: 1_050,
        };
        let zpl = label.to_zpl();
        assert!(zpl.starts_with("^XA\n") && zpl.ends_with("^XZ\n"));
        assert_eq!(zpl.matches("^XZ").count(), 1);
        for part in ["T1_5EXZ", "s_5F1", "o-1_7E", "weight: 1.050 kg", "^BC"] {
            assert!(zpl.contains(part), "{part}: {zpl}");
        }
        assert!(label.to_sheet().to_text().contains("tracking  T1^XZ"));
    }
}
