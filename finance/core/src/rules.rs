//! The posting rules, as data: which account is debited and credited with which amount of a fact.
//!
//! A rule has a version: when accounting policy changes, a rule gets a new version, and entries posted before keep the name
//! of theirs. The table is that of perpetual inventory accounting, as far as this release goes.
//!
//! Must not know: where facts come from, layers, storage.

use stockmesh_types::{ItemId, LegalEntity, NodeId, share};

use crate::accounts::{By, Role, chart_line, part};
use crate::journal::Posting;
use crate::records::{Price, Tax};

/// An account of a rule: a role, or one that the fact chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// Always this one.
    Is(Role),
    /// By payment terms or tender: deposits, PSP clearing, receivables, cash or card clearing, intercompany.
    Settlement,
    /// By what took the goods: cost of goods sold, shrinkage, transit and the like.
    Expense,
    /// By what returned goods waited for: to be refurbished, sold off, or sent back.
    SetAside,
}

/// An amount of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Sales value before discounts.
    Sales,
    /// Discount granted.
    Discount,
    /// Sales value less discount.
    NetSales,
    /// What a manufacturer pays.
    Coupon,
    /// Each tax, by its jurisdiction.
    Taxes,
    /// Each VAT, by its jurisdiction: tax that is due on prepayments too.
    Vat,
    /// What the customer owes: sales - discount - coupon + taxes.
    Owed,
    /// Sales value less discount, and its taxes, whoever paid.
    Gross,
    /// Cost of the goods.
    Cost,
    /// Provisional cost of goods that left before their receipt.
    Provisional,
    /// Cost less provisional cost.
    Difference,
    /// What goods are carried at: cost, or less.
    Carried,
    /// Cost less what goods are carried at.
    WrittenDown,
}

/// One line of a rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleLine {
    /// Debit, or credit.
    pub debit: bool,
    /// Account.
    pub account: Account,
    /// Amount.
    pub amount: Amount,
}

const fn dr(role: Role, amount: Amount) -> RuleLine {
    RuleLine { debit: true, account: Account::Is(role), amount }
}
const fn cr(role: Role, amount: Amount) -> RuleLine {
    RuleLine { debit: false, account: Account::Is(role), amount }
}
const fn dr_settlement(amount: Amount) -> RuleLine {
    RuleLine { debit: true, account: Account::Settlement, amount }
}
const fn dr_expense(amount: Amount) -> RuleLine {
    RuleLine { debit: true, account: Account::Expense, amount }
}
const fn cr_settlement(amount: Amount) -> RuleLine {
    RuleLine { debit: false, account: Account::Settlement, amount }
}
const fn cr_set_aside(amount: Amount) -> RuleLine {
    RuleLine { debit: false, account: Account::SetAside, amount }
}
const fn cr_expense(amount: Amount) -> RuleLine {
    RuleLine { debit: false, account: Account::Expense, amount }
}

/// A posting rule.
#[derive(Debug)]
pub struct Rule {
    /// Name and version, as entries carry it.
    pub name: &'static str,
    /// What it is: how the description of its entries begins. What it is about follows.
    pub title: &'static str,
    /// Lines.
    pub lines: &'static [RuleLine],
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $constant:ident $name:literal $title:literal [$($line:expr),+ $(,)?];)*) => {
        $($(#[doc = $doc])+ pub static $constant: Rule = Rule { name: $name, title: $title, lines: &[$($line),+] };)*
        /// Every rule.
        pub static RULES: &[&Rule] = &[$(&$constant),*];
    };
}

rules! {
    /// Goods received on a purchase order, at its cost.
    RECEIPT_PURCHASE "receipt.purchase/1" "Received" [
        dr(Role::Inventory, Amount::Cost), cr(Role::Grni, Amount::Cost),
    ];
    /// Opening stock, through migration clearing, which ends at zero within the entry.
    RECEIPT_OPENING "receipt.opening/1" "Opening stock" [
        dr(Role::Inventory, Amount::Cost), cr(Role::MigrationClearing, Amount::Cost),
        dr(Role::MigrationClearing, Amount::Cost), cr(Role::OpeningEquity, Amount::Cost),
    ];
    /// A prepaid order: the money captured is owed until supply.
    ORDER_DEPOSIT "order.deposit/1" "Prepaid" [
        dr(Role::PspClearing, Amount::Owed), cr(Role::CustomerDeposits, Amount::Owed),
    ];
    /// VAT falls due on the prepayment.
    ORDER_DEPOSIT_VAT "order.deposit-vat/1" "VAT on prepayment of" [
        dr(Role::VatOnDeposits, Amount::Vat), cr(Role::OutputVat, Amount::Vat),
    ];
    /// Units of a prepaid order will not be supplied.
    CANCEL_DEPOSIT "cancel.deposit/1" "Cancelled" [
        dr(Role::CustomerDeposits, Amount::Owed), cr(Role::RefundsPayable, Amount::Owed),
        dr(Role::OutputVat, Amount::Vat), cr(Role::VatOnDeposits, Amount::Vat),
    ];
    /// The entity that holds the deposit owes it to the entity that ships.
    SHIPMENT_DEPOSIT_TRANSFER "shipment.deposit-transfer/1" "Deposit passed on for" [
        dr(Role::CustomerDeposits, Amount::Owed), cr(Role::Intercompany, Amount::Owed),
    ];
    /// The VAT of the prepayment is replaced by that of the supply.
    SHIPMENT_DEPOSIT_VAT "shipment.deposit-vat/1" "VAT on prepayment reversed at" [
        dr(Role::OutputVat, Amount::Vat), cr(Role::VatOnDeposits, Amount::Vat),
    ];
    /// Revenue of a shipment: control passes when goods leave.
    SHIPMENT_REVENUE "shipment.revenue/1" "Revenue of" [
        dr_settlement(Amount::Owed), dr(Role::Discounts, Amount::Discount),
        dr(Role::CouponReceivable, Amount::Coupon),
        cr(Role::Sales, Amount::Sales), cr(Role::TaxPayable, Amount::Taxes),
    ];
    /// Cost of a shipment, at the layers' cost; what left ahead of its receipt at provisional cost.
    SHIPMENT_COST "shipment.cost/1" "Cost of" [
        dr_expense(Amount::Cost), cr(Role::Inventory, Amount::Cost),
        dr_expense(Amount::Provisional), cr(Role::UnreceivedStock, Amount::Provisional),
    ];
    /// Revenue of a counter sale.
    COUNTER_REVENUE "counter.revenue/1" "Revenue of" [
        dr_settlement(Amount::Owed), dr(Role::Discounts, Amount::Discount),
        dr(Role::CouponReceivable, Amount::Coupon),
        cr(Role::Sales, Amount::Sales), cr(Role::TaxPayable, Amount::Taxes),
    ];
    /// Cost of a counter sale.
    COUNTER_COST "counter.cost/1" "Cost of" [
        dr_expense(Amount::Cost), cr(Role::Inventory, Amount::Cost),
        dr_expense(Amount::Provisional), cr(Role::UnreceivedStock, Amount::Provisional),
    ];
    /// A customer's goods came back: what was paid is to be refunded, tax at the rate of the sale. A manufacturer's
    /// coupon is not claimed for them.
    RETURN_REVENUE "return.revenue/1" "Refund of" [
        dr(Role::SalesReturns, Amount::NetSales), dr(Role::TaxPayable, Amount::Taxes),
        cr(Role::RefundsPayable, Amount::Owed), cr(Role::CouponReceivable, Amount::Coupon),
    ];
    /// Goods that came back, at the cost at which they left.
    RETURN_COST "return.cost/1" "Cost of" [
        dr(Role::ReturnsPending, Amount::Cost), cr_expense(Amount::Cost),
    ];
    /// Goods sold by another entity came back: that entity's side.
    RETURN_COST_SELLER "return.cost-seller/1" "Seller's cost of" [
        dr(Role::Intercompany, Amount::Cost), cr_expense(Amount::Cost),
    ];
    /// Goods sold by another entity came back: the side of the entity that took them in.
    RETURN_COST_TAKER "return.cost-taker/1" "Cost owed to the seller for" [
        dr(Role::ReturnsPending, Amount::Cost), cr(Role::Intercompany, Amount::Cost),
    ];
    /// Returned goods are sellable: a new layer at original cost.
    INSPECTION_RESALE "inspection.resale/1" "Back to stock:" [
        dr(Role::Inventory, Amount::Cost), cr(Role::ReturnsPending, Amount::Cost),
    ];
    /// Returned goods are written off.
    INSPECTION_WRITE_OFF "inspection.write-off/1" "Written off:" [
        dr(Role::WriteOff, Amount::Cost), cr(Role::ReturnsPending, Amount::Cost),
    ];
    /// Units that are not there any more.
    STOCK_LOST "stock.lost/1" "Stock lost:" [
        dr_expense(Amount::Cost), cr(Role::Inventory, Amount::Cost),
        dr_expense(Amount::Provisional), cr(Role::UnreceivedStock, Amount::Provisional),
    ];
    /// Units that turned up, at the last cost of a receipt.
    STOCK_FOUND "stock.found/1" "Stock found:" [
        dr(Role::Inventory, Amount::Cost), cr(Role::Shrinkage, Amount::Cost),
    ];
    /// The receipt of goods that had left already: provisional cost becomes cost.
    COST_UNRECEIVED "cost.unreceived/1" "Provisional cost trued up at receipt:" [
        dr(Role::UnreceivedStock, Amount::Provisional), dr_expense(Amount::Difference),
        cr(Role::Inventory, Amount::Cost),
    ];
    /// Goods that arrived and are held in receiving, at the cost of their order.
    RECEIPT_HELD "receipt.held/1" "Received and held:" [
        dr(Role::GoodsHeld, Amount::Cost), cr(Role::Grni, Amount::Cost),
    ];
    /// Held goods stay.
    HELD_ACCEPTED "held.accepted/1" "Accepted:" [
        dr(Role::Inventory, Amount::Cost), cr(Role::GoodsHeld, Amount::Cost),
    ];
    /// Held goods go back, or never came in: nothing is owed for them.
    HELD_REFUSED "held.refused/1" "Refused:" [
        dr(Role::Grni, Amount::Cost), cr(Role::GoodsHeld, Amount::Cost),
    ];
    /// Stock written off, or used by the node itself.
    STOCK_WRITTEN_OFF "stock.written-off/1" "Written off from stock:" [
        dr_expense(Amount::Cost), cr(Role::Inventory, Amount::Cost),
        dr_expense(Amount::Provisional), cr(Role::UnreceivedStock, Amount::Provisional),
    ];
    /// Goods left for another node: their value goes with them.
    TRANSFER_SHIPPED "transfer.shipped/1" "In transit:" [
        dr_expense(Amount::Cost), cr(Role::Inventory, Amount::Cost),
        dr_expense(Amount::Provisional), cr(Role::UnreceivedStock, Amount::Provisional),
    ];
    /// Goods in transit arrived, at a node of the same legal entity.
    TRANSFER_RECEIVED "transfer.received/1" "Arrived:" [
        dr(Role::Inventory, Amount::Cost), cr(Role::InTransit, Amount::Cost),
    ];
    /// Goods in transit arrived at another legal entity's node: the side of the one that sent them, at cost.
    TRANSFER_PASSED_ON "transfer.passed-on/1" "Passed on:" [
        dr(Role::Intercompany, Amount::Cost), cr(Role::InTransit, Amount::Cost),
    ];
    /// The side of the one that took them.
    TRANSFER_TAKEN_OVER "transfer.taken-over/1" "Taken over:" [
        dr(Role::Inventory, Amount::Cost), cr(Role::Intercompany, Amount::Cost),
    ];
    /// Goods in transit will not arrive: the loss of the entity that sent them.
    TRANSFER_SHORT "transfer.short/1" "Lost in transit:" [
        dr(Role::TransitLoss, Amount::Cost), cr(Role::InTransit, Amount::Cost),
    ];
    /// Goods were taken to become others (kits), or taken apart.
    CONVERSION_TAKEN "conversion.taken/1" "Taken for conversion:" [
        dr_expense(Amount::Cost), cr(Role::Inventory, Amount::Cost),
        dr_expense(Amount::Provisional), cr(Role::UnreceivedStock, Amount::Provisional),
    ];
    /// What they became, at the same value.
    CONVERSION_MADE "conversion.made/1" "Made by conversion:" [
        dr(Role::Inventory, Amount::Cost), cr(Role::Conversion, Amount::Cost),
    ];
    /// A counter sale was taken back as if it had not been: its revenue.
    VOID_REVENUE "void.revenue/1" "Voided:" [
        dr(Role::Sales, Amount::Sales), dr(Role::TaxPayable, Amount::Taxes),
        cr_settlement(Amount::Owed), cr(Role::Discounts, Amount::Discount), cr(Role::CouponReceivable, Amount::Coupon),
    ];
    /// A counter sale was taken back: its goods, at the cost at which they had left.
    VOID_COST "void.cost/1" "Cost of voided" [
        dr(Role::Inventory, Amount::Cost), cr_expense(Amount::Cost),
    ];
    /// Returned goods wait to be refurbished.
    INSPECTION_REFURBISH "inspection.refurbish/1" "To be refurbished:" [
        dr(Role::Refurbishment, Amount::Cost), cr(Role::ReturnsPending, Amount::Cost),
    ];
    /// Returned goods wait to be sold off, at the net realisable value that the settings state.
    INSPECTION_LIQUIDATE "inspection.liquidate/1" "To be liquidated:" [
        dr(Role::LiquidationStock, Amount::Carried), dr(Role::WriteDown, Amount::WrittenDown),
        cr(Role::ReturnsPending, Amount::Cost),
    ];
    /// Returned goods wait to go back to their supplier.
    INSPECTION_TO_VENDOR "inspection.to-vendor/1" "To go back to the supplier:" [
        dr(Role::VendorReturns, Amount::Cost), cr(Role::ReturnsPending, Amount::Cost),
    ];
    /// Refurbished goods are sellable: a new layer.
    DISPOSITION_REFURBISHED "disposition.refurbished/1" "Refurbished:" [
        dr(Role::Inventory, Amount::Carried), cr_set_aside(Amount::Carried),
    ];
    /// Goods were sold off: their cost. The proceeds are no fact of the network.
    DISPOSITION_LIQUIDATED "disposition.liquidated/1" "Liquidated:" [
        dr(Role::CostOfGoodsSold, Amount::Carried), cr_set_aside(Amount::Carried),
    ];
    /// Goods went back to their supplier, who owes for them.
    DISPOSITION_RETURNED "disposition.returned/1" "Returned to the supplier:" [
        dr(Role::SupplierClaims, Amount::Carried), cr_set_aside(Amount::Carried),
    ];
    /// Goods were not worth their disposition.
    DISPOSITION_WRITTEN_OFF "disposition.written-off/1" "Written off after all:" [
        dr(Role::WriteOff, Amount::Carried), cr_set_aside(Amount::Carried),
    ];
    /// A refund for goods that the customer keeps.
    REFUND_ALLOWANCE "refund.allowance/1" "Refund without return:" [
        dr(Role::SalesAllowances, Amount::NetSales), dr(Role::TaxPayable, Amount::Taxes),
        cr(Role::RefundsPayable, Amount::Gross),
    ];
    /// Less was refunded than the returned goods had cost the customer.
    REFUND_FEE "refund.fee/1" "Kept of the refund:" [
        dr(Role::RefundsPayable, Amount::Gross),
        cr(Role::RestockingFees, Amount::NetSales), cr(Role::TaxPayable, Amount::Taxes),
    ];
    /// A refund was paid at a till.
    REFUND_PAID "refund.paid/1" "Paid:" [
        dr(Role::RefundsPayable, Amount::Owed), cr_settlement(Amount::Owed),
    ];
    /// A refund that another entity owes was paid at a till: the side of the till's entity.
    REFUND_PAID_FOR "refund.paid-for/1" "Paid for another entity:" [
        dr(Role::Intercompany, Amount::Owed), cr_settlement(Amount::Owed),
    ];
    /// The side of the entity that owed it.
    REFUND_OWED_TO_PAYER "refund.owed-to-payer/1" "Paid by another entity:" [
        dr(Role::RefundsPayable, Amount::Owed), cr(Role::Intercompany, Amount::Owed),
    ];
    /// The cost of returned goods became known after they had left again.
    COST_LATE "cost.late/1" "Cost known late:" [
        dr_expense(Amount::Cost), cr(Role::Inventory, Amount::Cost),
    ];
}

/// What one line of a fact gives the rules: amounts and dimensions.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Node.
    pub node: Option<&'a NodeId>,
    /// Item.
    pub item: Option<&'a ItemId>,
    /// Channel; empty: none.
    pub channel: &'a str,
    /// Order or till document; empty: none.
    pub order_id: &'a str,
    /// The other legal entity.
    pub counterparty: Option<&'a LegalEntity>,
    /// Account of [`Account::Settlement`].
    pub settlement: Role,
    /// Account of [`Account::Expense`].
    pub expense: Role,
    /// Account of [`Account::SetAside`].
    pub set_aside: Role,
    /// Lane of goods in transit; empty: none.
    pub lane: &'a str,
    /// Prices.
    pub price: Price,
    /// Cost, minor units.
    pub cost_minor: i64,
    /// Provisional cost, minor units.
    pub provisional_minor: i64,
    /// What goods are carried at, minor units.
    pub carried_minor: i64,
}

impl Line<'_> {
    /// Without amounts and dimensions.
    #[must_use]
    pub fn new() -> Self {
        Self {
            node: None,
            item: None,
            channel: "",
            order_id: "",
            counterparty: None,
            settlement: Role::PspClearing,
            expense: Role::CostOfGoodsSold,
            set_aside: Role::Refurbishment,
            lane: "",
            price: Price::default(),
            cost_minor: 0,
            provisional_minor: 0,
            carried_minor: 0,
        }
    }

    fn posting(&self, line: &RuleLine, amount_minor: i64, tax: Option<&Tax>) -> Option<Posting> {
        if amount_minor == 0 {
            return None;
        }
        let role = match line.account {
            Account::Is(role) => role,
            Account::Settlement => self.settlement,
            Account::Expense => self.expense,
            Account::SetAside => self.set_aside,
        };
        let chart = chart_line(role);
        let (jurisdiction, tax_rate_ppm) = tax.map_or(("", 0), |tax| (tax.jurisdiction.as_str(), tax.rate_ppm));
        let by = match chart.by {
            By::Nothing => None,
            By::Node => Some(self.node.map_or("", NodeId::as_str)),
            By::Channel => Some(self.channel),
            By::Jurisdiction => Some(jurisdiction),
            By::Counterparty => Some(self.counterparty.map_or("", LegalEntity::as_str)),
            By::Lane => Some(self.lane),
        };
        Some(Posting {
            account: by.map_or_else(|| chart.name.to_owned(), |by| format!("{}:{}", chart.name, part(by))),
            amount_minor: if line.debit { amount_minor } else { -amount_minor },
            node: self.node.map(ToString::to_string).unwrap_or_default(),
            item: self.item.map(ToString::to_string).unwrap_or_default(),
            channel: self.channel.to_owned(),
            order_id: self.order_id.to_owned(),
            jurisdiction: jurisdiction.to_owned(),
            tax_rate_ppm,
        })
    }

    /// Adds the postings that `rule` makes of this line. Amounts of 0 make none.
    pub fn post(&self, rule: &Rule, postings: &mut Vec<Posting>) {
        for line in rule.lines {
            let amount = match line.amount {
                Amount::Sales => self.price.sales_minor,
                Amount::Discount => self.price.discount_minor,
                Amount::NetSales => self.price.sales_minor - self.price.discount_minor,
                Amount::Coupon => self.price.coupon_minor,
                Amount::Owed => self.price.owed_minor(),
                Amount::Gross => self.price.owed_minor() + self.price.coupon_minor,
                Amount::Cost => self.cost_minor,
                Amount::Provisional => self.provisional_minor,
                Amount::Difference => self.cost_minor - self.provisional_minor,
                Amount::Carried => self.carried_minor,
                Amount::WrittenDown => self.cost_minor - self.carried_minor,
                Amount::Taxes | Amount::Vat => {
                    let taxes = self.price.taxes.iter().filter(|tax| line.amount == Amount::Taxes || tax.vat);
                    postings.extend(taxes.filter_map(|tax| self.posting(line, tax.tax_minor, Some(tax))));
                    continue;
                }
            };
            // What a tax is computed from says which one, so that the journal alone shows base, rate and tax.
            let tax = match (line.amount, self.price.taxes.as_slice()) {
                (Amount::Sales | Amount::Discount | Amount::NetSales, [only]) => Some(only),
                _ => None,
            };
            postings.extend(self.posting(line, amount, tax));
        }
    }
}

impl Default for Line<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl Price {
    /// What the customer owes: sales - discount - coupon + taxes.
    #[must_use]
    pub fn owed_minor(&self) -> i64 {
        let taxes: i64 = self.taxes.iter().map(|tax| tax.tax_minor).sum();
        self.sales_minor - self.discount_minor - self.coupon_minor + taxes
    }

    /// The part of units `from..to` of `whole`. Each amount is spread by itself, so that the parts of a line add up to
    /// the line's own amounts, to the minor unit, however it is split.
    #[must_use]
    pub fn part(&self, from: i64, to: i64, whole: i64) -> Self {
        let of = |total| share(total, from, to, whole);
        Self {
            sales_minor: of(self.sales_minor),
            discount_minor: of(self.discount_minor),
            coupon_minor: of(self.coupon_minor),
            taxes: self.taxes.iter().map(|tax| Tax { tax_minor: of(tax.tax_minor), ..tax.clone() }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_balances_whatever_the_amounts() {
        let node = NodeId::new("dc-1").unwrap();
        let tax =
            |jurisdiction: &str, vat, tax_minor| Tax { jurisdiction: jurisdiction.into(), vat, rate_ppm: 1, tax_minor };
        let line = Line {
            node: Some(&node),
            channel: "web",
            price: Price {
                sales_minor: 100_003,
                discount_minor: 1_007,
                coupon_minor: 211,
                taxes: vec![tax("GB", true, 19), tax("US-OH", false, 23)],
            },
            cost_minor: 70_001,
            provisional_minor: 60_017,
            carried_minor: 50_023,
            ..Line::new()
        };
        for rule in RULES {
            let mut postings = Vec::new();
            line.post(rule, &mut postings);
            assert_eq!(postings.iter().map(|posting| posting.amount_minor).sum::<i64>(), 0, "{}", rule.name);
            assert!(postings.len() >= 2, "{}", rule.name);
        }
    }

    #[test]
    fn rules_have_a_version_and_a_name_of_their_own() {
        let names: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
        for name in names {
            let (_, version) = name.rsplit_once('/').expect("a version behind a slash");
            assert!(version.parse::<u32>().is_ok_and(|version| version > 0), "{name}");
        }
    }
}
