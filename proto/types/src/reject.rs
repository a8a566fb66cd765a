//! Rejects: business answers that say no, with a reason that a program can act on.
//!
//! One numbered list for all services, extended only here. A number is never used again: rejects are recorded.
//! Faults (I/O, corruption) are another thing: they are errors of the shells, and stop a process.

use std::fmt;

/// What a caller should conclude, independent of the reason: decides the gRPC status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectKind {
    /// The request can never succeed as it is: mend it.
    InvalidArgument,
    /// Something it names does not exist.
    NotFound,
    /// Something it makes exists already, and differs.
    AlreadyExists,
    /// The state does not allow it now.
    FailedPrecondition,
    /// The caller may not do it.
    PermissionDenied,
    /// Too much at once: try again after a delay.
    ResourceExhausted,
    /// Outcome unknown or service not ready: repeat with the same id.
    Unavailable,
    /// Not in this release.
    Unimplemented,
}

macro_rules! reasons {
    ($($number:literal $name:ident $code:literal $kind:ident $doc:literal,)*) => {
        /// Why a request is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason {
            $(#[doc = $doc] $name = $number,)*
        }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The machine-readable code, as sent in `google.rpc.ErrorInfo.reason`.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What the caller should conclude.
            #[must_use]
            pub fn kind(self) -> RejectKind {
                match self { $(Self::$name => RejectKind::$kind,)* }
            }

            /// The number that records keep.
            #[must_use]
            pub fn number(self) -> u32 {
                self as u32
            }

            /// The reason with a number; `None` for one that this build does not know.
            #[must_use]
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.number() == number)
            }
        }
    };
}

reasons! {
    // 1-49: the request itself.
    1 MissingField "MISSING_FIELD" InvalidArgument "A field that must be set is not.",
    2 InvalidId "INVALID_ID" InvalidArgument "An id has the wrong length or characters.",
    3 InvalidRequestId "INVALID_REQUEST_ID" InvalidArgument "The request id is no UUIDv7, or lies more than 5 minutes in the future.",
    4 QuantityNotPositive "QUANTITY_NOT_POSITIVE" InvalidArgument "A quantity is 0 or negative.",
    5 QuantityTooLarge "QUANTITY_TOO_LARGE" InvalidArgument "A quantity is beyond 1,000,000,000.",
    6 InvalidCurrency "INVALID_CURRENCY" InvalidArgument "Not an ISO 4217 code.",
    7 CurrencyMismatch "CURRENCY_MISMATCH" InvalidArgument "Amounts of different currencies in one document.",
    8 AmountNegative "AMOUNT_NEGATIVE" InvalidArgument "An amount that can't be negative is.",
    9 AmountTooLarge "AMOUNT_TOO_LARGE" InvalidArgument "An amount is beyond what the books hold.",
    10 TaxMismatch "TAX_MISMATCH" InvalidArgument "A tax amount is not taxable amount x rate, or its base is not the line's.",
    11 TooManyLines "TOO_MANY_LINES" InvalidArgument "More lines than one request may have.",
    12 DuplicateLine "DUPLICATE_LINE" InvalidArgument "A line number or key stands twice in one request.",
    13 InvalidPlace "INVALID_PLACE" InvalidArgument "Country code or coordinates are wrong.",
    14 InvalidDate "INVALID_DATE" InvalidArgument "A date or time can't be.",
    15 InvalidPageToken "INVALID_PAGE_TOKEN" InvalidArgument "The page token is not one that this list gave.",
    16 UnspecifiedEnum "UNSPECIFIED_ENUM" InvalidArgument "An enumeration is not set, or has a value that is not known.",
    17 InvalidValue "INVALID_VALUE" InvalidArgument "A value is outside its range; the message names the field and the range.",
    18 TextTooLong "TEXT_TOO_LONG" InvalidArgument "A text is longer than its field holds.",

    // 50-79: identity and repeats.
    50 RequestIdReused "REQUEST_ID_REUSED" AlreadyExists "The same request id came with another body.",
    51 RequestExpired "REQUEST_EXPIRED" FailedPrecondition "The request id is older than what is remembered: it is never executed.",
    52 OrderIdReused "ORDER_ID_REUSED" AlreadyExists "An order with this id and another body exists.",
    53 DocumentIdReused "DOCUMENT_ID_REUSED" AlreadyExists "A document (receipt, sale, shipment, return) with this id exists.",
    54 Unauthenticated "UNAUTHENTICATED" PermissionDenied "The connection proves no identity.",
    55 NotAllowed "NOT_ALLOWED" PermissionDenied "This caller may not do this.",

    // 80-119: things that are not there.
    80 UnknownItem "UNKNOWN_ITEM" NotFound "The item is not in the catalog, or not ranged at the node.",
    81 UnknownNode "UNKNOWN_NODE" NotFound "The node is not registered, or not hosted by this process.",
    82 UnknownOrder "UNKNOWN_ORDER" NotFound "No such order.",
    83 UnknownOrderLine "UNKNOWN_ORDER_LINE" NotFound "The order has no such line.",
    84 UnknownAllocation "UNKNOWN_ALLOCATION" NotFound "The node has no such allocation.",
    85 UnknownReturn "UNKNOWN_RETURN" NotFound "The node has no such return.",
    86 UnknownFeed "UNKNOWN_FEED" NotFound "No such feed, or not one for this caller.",
    87 UnknownCell "UNKNOWN_CELL" NotFound "The node never granted rights for this stock key.",

    // 120-199: state at the node.
    120 InsufficientRetained "INSUFFICIENT_RETAINED" FailedPrecondition "The counter asked for more than the node retained; the rest is promised to orders.",
    121 InsufficientOnHand "INSUFFICIENT_ON_HAND" FailedPrecondition "Fewer units are on hand.",
    122 ExceedsAllocation "EXCEEDS_ALLOCATION" FailedPrecondition "More than the allocation has left.",
    123 NotPicked "NOT_PICKED" FailedPrecondition "More than was picked.",
    124 MixedOrders "MIXED_ORDERS" InvalidArgument "One shipment has allocations of several orders.",
    125 ExceedsReturn "EXCEEDS_RETURN" FailedPrecondition "More than the return has left to inspect.",
    126 Recovering "RECOVERING" FailedPrecondition "The node's store is behind its marker: recover it first.",
    127 ReadOnly "READ_ONLY" ResourceExhausted "The disk is nearly full: only reads are answered.",

    // 200-299: state at the coordinator.
    200 InsufficientRights "INSUFFICIENT_RIGHTS" FailedPrecondition "Fewer units can be promised than asked.",
    201 NodeExists "NODE_EXISTS" AlreadyExists "A node with this name and other data exists.",
    202 ItemExists "ITEM_EXISTS" AlreadyExists "An item with this name and other data exists.",
    203 NothingToCancel "NOTHING_TO_CANCEL" FailedPrecondition "Everything named has shipped or is cancelled.",
    204 ExceedsLine "EXCEEDS_LINE" FailedPrecondition "More than the order line has left.",
    205 GroupNotInitialized "GROUP_NOT_INITIALIZED" Unavailable "The group's first command has not been committed: repeat in a moment.",
    206 TooManyCells "TOO_MANY_CELLS" InvalidArgument "The command would touch more than 256 cells.",
    207 RightsChanged "RIGHTS_CHANGED" FailedPrecondition "Rights changed between decision and commit; decided again by itself.",
    208 StaleIncarnation "STALE_INCARNATION" FailedPrecondition "The request names an incarnation that is not the present one.",
    209 GroupExists "GROUP_EXISTS" AlreadyExists "The group was initialized before, with other data.",
    210 TooManyStockKeys "TOO_MANY_STOCK_KEYS" FailedPrecondition "The item would have more stock keys than one item may have.",

    // 420-449: recovery of rights, at the coordinator.
    420 SealBehind "SEAL_BEHIND" FailedPrecondition "The epoch to seal has entries that the coordinator lacks: push them first.",
    421 SealAhead "SEAL_AHEAD" FailedPrecondition "The coordinator has more of the epoch than is to be sealed: replay it from finance's archive, or name the lost range.",
    422 WelcomeNotReady "WELCOME_NOT_READY" Unavailable "The node's cells are still being restamped: repeat in a moment.",
    423 StaleRecovery "STALE_RECOVERY" FailedPrecondition "The recovery id is not that of the node's present recovery.",
    424 NodeLost "NODE_LOST" FailedPrecondition "Two people gave the node up as lost: reinstate it first.",
    425 SamePerson "SAME_PERSON" PermissionDenied "This takes two people, and the same one asked twice.",
    426 NotProposed "NOT_PROPOSED" FailedPrecondition "Nobody proposed this yet.",
    427 TooManyRecoveries "TOO_MANY_RECOVERIES" ResourceExhausted "The node was recovered too often for every recovery id to be remembered.",
    428 GroupRestoring "GROUP_RESTORING" Unavailable "The group was restored from a backup and waits for reports: repeat when they are in.",
    429 PolicyChanged "POLICY_CHANGED" FailedPrecondition "The policies changed since the caller saw them: look again.",
    430 NotRestoring "NOT_RESTORING" FailedPrecondition "The group is not being restored: it needs no reports.",
    431 NodeRecovering "NODE_RECOVERING" FailedPrecondition "The node's epoch has just begun, and its cells are not restamped yet: repeat in a moment.",
    432 ReportGap "REPORT_GAP" FailedPrecondition "A page of the report is missing before this one.",
    433 TooMuchWork "TOO_MUCH_WORK" ResourceExhausted "Too much work of this kind waits already: repeat when it is done.",
    // 450-499: catalog, supply, transfers, refunds at the coordinator.
    450 ItemChanged "ITEM_CHANGED" FailedPrecondition "The item has another version by now: read it again, then change that.",
    451 CodeInUse "CODE_IN_USE" AlreadyExists "A scan code belongs to another item.",
    452 InvalidScanCode "INVALID_SCAN_CODE" InvalidArgument "A scan code is no text of 1 to 48 characters, or a GTIN whose check digit is wrong.",
    453 NotRanged "NOT_RANGED" FailedPrecondition "The item may not be handled at the node: range it there first.",
    454 RevisionChanged "REVISION_CHANGED" FailedPrecondition "The document has another revision by now: read it again, then change that.",
    455 UnknownPurchaseOrder "UNKNOWN_PURCHASE_ORDER" NotFound "No such purchase order, or it ended so long ago that it is no longer kept.",
    456 PurchaseOrderEnded "PURCHASE_ORDER_ENDED" FailedPrecondition "The purchase order is received, closed or cancelled.",
    457 BelowReceived "BELOW_RECEIVED" FailedPrecondition "More of the line has arrived than the change would leave.",
    458 TooManySupplies "TOO_MANY_SUPPLIES" FailedPrecondition "The stock key has as many open supplies as are kept.",
    459 UnknownTransfer "UNKNOWN_TRANSFER" NotFound "No such transfer, or it ended so long ago that it is no longer kept.",
    460 TransferNotDraft "TRANSFER_NOT_DRAFT" FailedPrecondition "The transfer was released or cancelled before.",
    461 TransferEnded "TRANSFER_ENDED" FailedPrecondition "The transfer is received or cancelled.",
    462 RefundExceedsUnits "REFUND_EXCEEDS_UNITS" FailedPrecondition "More units would be refunded than were shipped, or than came back.",
    463 RefundExceedsCharge "REFUND_EXCEEDS_CHARGE" FailedPrecondition "The refund is above the units' share of what was charged.",
    464 UnknownAuthorisation "UNKNOWN_AUTHORISATION" NotFound "No such return authorisation, or it ended so long ago that it is no longer kept.",
    465 AuthorisationEnded "AUTHORISATION_ENDED" FailedPrecondition "The return authorisation is received or cancelled.",
    466 ExceedsReturnable "EXCEEDS_RETURNABLE" FailedPrecondition "More units than were shipped, less those that came back or are authorised to.",
    467 UnknownException "UNKNOWN_EXCEPTION" NotFound "No such open exception.",
    468 NotForPeople "NOT_FOR_PEOPLE" FailedPrecondition "What closes this exception is an event, not a person's word.",
    469 TooManyDocuments "TOO_MANY_DOCUMENTS" ResourceExhausted "As many documents of this kind are open as are kept: close some.",
    470 ItemInUse "ITEM_IN_USE" FailedPrecondition "The item was granted or ordered: this can't change any more.",

    // 300-349: feeds.
    300 FeedGap "FEED_GAP" FailedPrecondition "Entries are missing before these.",
    301 FeedForked "FEED_FORKED" FailedPrecondition "The same sequence number came with another hash: the feed is halted.",
    302 StaleEpoch "STALE_EPOCH" FailedPrecondition "The feed names an epoch that is over.",
    303 UnknownFact "UNKNOWN_FACT" FailedPrecondition "A fact that this build does not know.",

    // 310-349: stock, expected receipts and counts of a node.
    310 UnknownPack "UNKNOWN_PACK" InvalidArgument "The item has no such pack.",
    311 PackMismatch "PACK_MISMATCH" InvalidArgument "Base units and packs are both given and don't say the same.",
    312 UnitsMismatch "UNITS_MISMATCH" InvalidArgument "The units that are named are not as many as the quantity.",
    313 LotRequired "LOT_REQUIRED" InvalidArgument "The item is kept by lot, and none is named.",
    314 SerialsRequired "SERIALS_REQUIRED" InvalidArgument "The item has serial numbers, and they are not named.",
    315 SerialExists "SERIAL_EXISTS" AlreadyExists "A unit with this serial number is at the node.",
    316 UnknownSerial "UNKNOWN_SERIAL" NotFound "No unit with this serial number is there in that condition.",
    317 InsufficientInPlace "INSUFFICIENT_IN_PLACE" FailedPrecondition "Fewer units are in that lot or bin.",
    318 LotExpired "LOT_EXPIRED" FailedPrecondition "The lot is past its last day.",
    319 FefoViolated "FEFO_VIOLATED" FailedPrecondition "Another lot expires first.",
    320 UnknownBin "UNKNOWN_BIN" NotFound "The node has no such bin.",
    321 BinNotEmpty "BIN_NOT_EMPTY" FailedPrecondition "Units lie in the bin.",
    322 UnknownInbound "UNKNOWN_INBOUND" NotFound "The node expects no such receipt.",
    323 InboundClosed "INBOUND_CLOSED" FailedPrecondition "No more is received against it.",
    324 UnknownInboundLine "UNKNOWN_INBOUND_LINE" InvalidArgument "The expected receipt has no such line, or one of another stock key.",
    325 UnknownCount "UNKNOWN_COUNT" NotFound "The node has no such count.",
    326 CountState "COUNT_STATE" FailedPrecondition "The count is in another state.",
    327 CountIncomplete "COUNT_INCOMPLETE" FailedPrecondition "Lines of the count have no figure.",
    328 ReviewerCounted "REVIEWER_COUNTED" PermissionDenied "Who counted or asked for it may not approve it.",
    330 ExceptionHolds "EXCEPTION_HOLDS" FailedPrecondition "The exception holds units: decide about them.",
    331 InvalidScan "INVALID_SCAN" InvalidArgument "The scanned text can't be read.",
    332 UnknownScan "UNKNOWN_SCAN" NotFound "No item has this code.",
    333 LotConflict "LOT_CONFLICT" FailedPrecondition "The lot is known with another last day.",
    334 PositionTooOld "POSITION_TOO_OLD" FailedPrecondition "The node no longer knows what was on record then: count the line again.",
    335 InsufficientInCondition "INSUFFICIENT_IN_CONDITION" FailedPrecondition "Fewer units are in that condition.",
    336 FeedTrimmed "FEED_TRIMMED" FailedPrecondition "The node no longer keeps these entries.",
    337 NotTracked "NOT_TRACKED" InvalidArgument "The item is not kept by lot or serial number.",
    338 MoveNotAllowed "MOVE_NOT_ALLOWED" InvalidArgument "The reason does not lead from that condition to the other.",
    339 AlreadyInCount "ALREADY_IN_COUNT" FailedPrecondition "It is a line of an open count.",
    340 NothingHeld "NOTHING_HELD" FailedPrecondition "The exception holds fewer units.",

    // 350-399: load and leadership.
    350 Overloaded "OVERLOADED" ResourceExhausted "A bounded queue is full.",
    351 NotLeader "NOT_LEADER" Unavailable "Another replica leads.",
    352 OutcomeUnknown "OUTCOME_UNKNOWN" Unavailable "Leadership was lost while this was in flight: repeat with the same id.",
    353 ShuttingDown "SHUTTING_DOWN" Unavailable "The process is going down: repeat elsewhere or later.",
    354 NotInThisRelease "NOT_IN_THIS_RELEASE" Unimplemented "Known, and not built yet.",

    // 355-399: the way out of a node: sales, work, pickups, kits, returns, refunds.
    355 SaleIsVoided "SALE_IS_VOIDED" FailedPrecondition "The sale was taken back.",
    356 SaleDiffers "SALE_DIFFERS" InvalidArgument "The sale was booked with another content.",
    357 UnknownSale "UNKNOWN_SALE" NotFound "The node has no such sale, or knows too little of it.",
    358 SaleHasReturns "SALE_HAS_RETURNS" FailedPrecondition "Goods of the sale came back: it can't be voided any more.",
    359 OnHold "ON_HOLD" FailedPrecondition "The work for the order waits.",
    360 NotOnHold "NOT_ON_HOLD" FailedPrecondition "The work for the order does not wait.",
    361 RejectedTooLate "REJECTED_TOO_LATE" FailedPrecondition "The time in which the site may reject work is over.",
    362 NothingToWave "NOTHING_TO_WAVE" FailedPrecondition "No work waits to be picked, or the labour is used up.",
    363 UnknownWave "UNKNOWN_WAVE" NotFound "The node has no such wave with units to pick.",
    364 SetAside "SET_ASIDE" FailedPrecondition "The goods are set aside for a pickup.",
    365 UnknownPickup "UNKNOWN_PICKUP" NotFound "The node has no such pickup that is not over.",
    366 WrongPickupCode "WRONG_PICKUP_CODE" PermissionDenied "The code is not the pickup's.",
    367 PickupLocked "PICKUP_LOCKED" FailedPrecondition "Too many wrong codes were given: the code must be replaced.",
    368 PickupNotReady "PICKUP_NOT_READY" FailedPrecondition "The customer may come later.",
    369 AgeCheckRequired "AGE_CHECK_REQUIRED" FailedPrecondition "The age of whoever fetches the goods must be checked.",
    370 NothingToStage "NOTHING_TO_STAGE" FailedPrecondition "Nothing of the order is picked and not set aside.",
    371 SubstitutionNotAllowed "SUBSTITUTION_NOT_ALLOWED" FailedPrecondition "The order takes no substitute.",
    372 NotASubstitute "NOT_A_SUBSTITUTE" InvalidArgument "The item does not name it as a substitute.",
    373 NotAKit "NOT_A_KIT" InvalidArgument "The item names no components.",
    374 KitScansDiffer "KIT_SCANS_DIFFER" InvalidArgument "What was scanned is not what the kits are made of.",
    375 NotWeighed "NOT_WEIGHED" InvalidArgument "The item is not sold by weight.",
    376 OutsideTolerance "OUTSIDE_TOLERANCE" FailedPrecondition "The weight is too far from what was ordered.",
    377 RefundLimitExceeded "REFUND_LIMIT_EXCEEDED" FailedPrecondition "The node has paid what it may pay on one day without asking.",
    378 NoOfflineRefunds "NO_OFFLINE_REFUNDS" FailedPrecondition "The node may not pay refunds without asking.",
    379 UnknownRefund "UNKNOWN_REFUND" NotFound "The node has no such refund.",
    380 NothingAwaits "NOTHING_AWAITS" FailedPrecondition "Fewer units of the return wait for this disposition.",
    381 OutcomeMismatch "OUTCOME_MISMATCH" InvalidArgument "The outcome is not one of that disposition.",
    382 NothingShort "NOTHING_SHORT" InvalidArgument "As many units were found as were to pick.",

    // 400-449: finance.
    400 UnknownEntity "UNKNOWN_ENTITY" NotFound "No such legal entity.",
    401 Unbalanced "UNBALANCED" InvalidArgument "Debits and credits differ.",

    // 402-419: a node's store and its recovery.
    402 NotRecovering "NOT_RECOVERING" FailedPrecondition "The node is not recovering, or not at this step of it.",
    403 RecoveryUnderWay "RECOVERY_UNDER_WAY" FailedPrecondition "The recovery has begun, and goes on by itself.",
    404 UnknownConsumer "UNKNOWN_CONSUMER" NotFound "The node's feed does not wait for such a consumer.",
    405 ConsumerConfigured "CONSUMER_CONFIGURED" FailedPrecondition "The consumer stands in the node's config: take it out first.",
    406 EntriesNotKept "ENTRIES_NOT_KEPT" FailedPrecondition "A consumer needs entries of a feed that are no longer kept.",
    407 BackupUnderWay "BACKUP_UNDER_WAY" ResourceExhausted "A backup of the node is being taken: one at a time.",

    // 500-549: finance, continued.
    500 NotArchived "NOT_ARCHIVED" NotFound "Entries of this feed were posted before the archive began: finance has no copy.",
    501 ReaderTooSlow "READER_TOO_SLOW" ResourceExhausted "The client took no piece for too long, and the books are not held for it: ask again.",

    // 570-589: replicas of a coordinator group.
    570 UnknownMember "UNKNOWN_MEMBER" NotFound "The group has no such member.",
    571 StoreReplaced "STORE_REPLACED" FailedPrecondition "The replica's disk is not the one that joined under its id: give it a new id.",
    572 MemberRemoved "MEMBER_REMOVED" FailedPrecondition "The id belonged to a replica that was removed: it is never used again.",
    573 MemberExists "MEMBER_EXISTS" AlreadyExists "A member with this id or address exists.",
    574 MembersChanging "MEMBERS_CHANGING" Unavailable "Another change of members is under way: repeat when it is done.",
    575 MemberBehind "MEMBER_BEHIND" FailedPrecondition "The learner has not caught up with the log, or was never met: promote it later.",
    576 LastVoter "LAST_VOTER" FailedPrecondition "The change would leave the group without a voter.",
    577 FeatureLevelTooLow "FEATURE_LEVEL_TOO_LOW" FailedPrecondition "The group's feature level does not allow this yet: raise it when every replica is upgraded.",
    578 FeatureLevelNotSpoken "FEATURE_LEVEL_NOT_SPOKEN" FailedPrecondition "A member does not speak this feature level, or has not been heard of: upgrade it first.",
    579 ClockOff "CLOCK_OFF" Unavailable "The leader's clock is off the majority's: another replica takes over.",
    580 TooManySessions "TOO_MANY_SESSIONS" ResourceExhausted "This participant has too many streams open here.",
    581 NotAVoter "NOT_A_VOTER" FailedPrecondition "The member does not vote: it can't do this.",
}

/// A business answer that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: Reason,
    /// For people: what is wrong, and what to do next where that is known.
    pub message: String,
    /// The field of the request that is at fault, as a path: `lines[2].quantity`. Empty: none in particular.
    pub field: String,
}

impl Reject {
    /// With a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: String::new() }
    }

    /// Names the field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Puts the field at fault below another: `quantity` becomes `lines[2].quantity`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = if self.field.is_empty() { outer.to_owned() } else { format!("{outer}.{}", self.field) };
        self
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.reason.code())?;
        if !self.field.is_empty() {
            write!(f, " at {}", self.field)?;
        }
        Ok(())
    }
}

impl std::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_and_numbers_are_unique_and_read_back() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        let numbers: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.number()).collect();
        assert_eq!((codes.len(), numbers.len()), (Reason::ALL.len(), Reason::ALL.len()));
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), Some(*reason));
        }
    }

    #[test]
    fn fields_nest() {
        let reject = Reject::new(Reason::MissingField, "quantity is missing").field("quantity").within("lines[2]");
        assert_eq!(reject.to_string(), "quantity is missing [MISSING_FIELD] at lines[2].quantity");
    }
}
