//! Exceptions: what may go wrong and waits for a person, as one numbered list for all services.
//!
//! The numbers are those of `stockmesh.common.v1.ExceptionCode`. Extended only here and there, together.
//!
//! Must not know: who raised one.

/// How much an exception matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// To be looked at when there is time.
    Info,
    /// To be worked off today.
    Warning,
    /// A customer, the books or the network suffers until it is closed.
    Critical,
}

impl Severity {
    /// As interfaces write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! exceptions {
    ($($number:literal $name:ident $code:literal $severity:ident $owner:literal $closed_by:literal,)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum ExceptionCode {
            $(#[doc = $code] $name = $number,)*
        }

        impl ExceptionCode {
            /// Every code, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its code, as interfaces write it.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// How much it matters.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// Role that works it off.
            #[must_use]
            pub fn owner_role(self) -> &'static str {
                match self { $(Self::$name => $owner,)* }
            }

            /// What closes it.
            #[must_use]
            pub fn closed_by(self) -> &'static str {
                match self { $(Self::$name => $closed_by,)* }
            }
        }
    };
}

exceptions! {
    1 ShortPick "SHORT_PICK" Warning "store manager" "a count of the stock key, or a person",
    2 PromiseBroken "PROMISE_BROKEN" Critical "customer service" "another promise to the customer, or the line's cancellation",
    3 NodeUnreachable "NODE_UNREACHABLE" Warning "operator" "the node's next sign of life",
    4 CutoffMissed "CUTOFF_MISSED" Warning "store manager" "the shipment's dispatch",
    5 OverReceipt "OVER_RECEIPT" Warning "buyer" "a decision about every unit that is held: accept or refuse",
    6 UnderReceipt "UNDER_RECEIPT" Warning "buyer" "a person, once the supplier has credited or will deliver",
    7 LateReceipt "LATE_RECEIPT" Info "buyer" "the receipt, or its close",
    8 DamagedInTransit "DAMAGED_IN_TRANSIT" Warning "buyer" "a decision about every unit that is held: accept or refuse",
    9 TransferShort "TRANSFER_SHORT" Warning "planner" "a person, once the units are found or claimed from the carrier",
    10 InvoiceMismatch "INVOICE_MISMATCH" Warning "AP clerk" "a corrected invoice, or its approval",
    11 DuplicateInvoice "DUPLICATE_INVOICE" Warning "AP clerk" "a person",
    12 SettlementDifference "SETTLEMENT_DIFFERENCE" Warning "controller" "a person",
    13 FeedGap "FEED_GAP" Critical "operator" "a recount of what the missing entries were about",
    14 IntegrationFailed "INTEGRATION_FAILED" Warning "operator" "the next success, or a person",
    15 StockoutRisk "STOCKOUT_RISK" Info "planner" "stock above the threshold",
    16 OverduePickup "OVERDUE_PICKUP" Info "store manager" "the pickup's handover, or its units back to stock",
    17 ReturnFraudSuspected "RETURN_FRAUD_SUSPECTED" Warning "loss prevention" "a person",
    18 DocumentConflict "DOCUMENT_CONFLICT" Critical "store manager" "a person, once the second document is entered under its own number",
    19 LotExpired "LOT_EXPIRED" Info "store manager" "a person, once the units are written off or sent back",
    20 UnitsUnidentified "UNITS_UNIDENTIFIED" Warning "store manager" "a count that names the serial numbers or lots",
    21 CountVariance "COUNT_VARIANCE" Warning "store manager" "the review of the count",
    22 RefundExceeded "REFUND_EXCEEDED" Warning "loss prevention" "a person",
}

impl ExceptionCode {
    /// The number that records keep.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The code with a number; `None` for one that this build does not know.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numbered_from_1_without_a_gap_and_read_back() {
        for (code, number) in ExceptionCode::ALL.iter().zip(1..) {
            assert_eq!(code.number(), number, "{}", code.code());
            assert_eq!(ExceptionCode::from_number(number), Some(*code));
            assert!(!code.owner_role().is_empty() && !code.closed_by().is_empty());
        }
        assert_eq!(ExceptionCode::from_number(0), None);
    }
}
