//! The chart of accounts, as data: which account each role of a posting rule stands for.
//!
//! Names follow beancount's grammar, so that books can be read by a tool that is not ours: parts separated by colons, the
//! first one of Assets, Liabilities, Equity, Income, Expenses, each other part `[A-Z0-9][A-Za-z0-9-]*`. The legal entity is
//! not part of the name: every entry belongs to one entity, and exports put it second (`Assets:Retail-Uk:Inventory:Dc-1`).
//!
//! Must not know: rules, facts, amounts.

/// What an account is for. Rules name roles, never accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Goods on hand in any condition but return pending, at cost.
    Inventory,
    /// Goods that customers sent back, not yet inspected, at the cost at which they left.
    ReturnsPending,
    /// Money that the payment service provider captured and has not paid out.
    PspClearing,
    /// Cash in tills.
    CashClearing,
    /// Card payments at counters, not paid out yet.
    CardClearing,
    /// Invoiced to customers.
    AccountsReceivable,
    /// Manufacturers' coupons to be claimed.
    CouponReceivable,
    /// The counter-account of VAT that is due on prepayments before the supply.
    VatOnDeposits,
    /// What another entity of the group owes, or is owed (negative).
    Intercompany,
    /// Goods received, not invoiced.
    Grni,
    /// Prepaid by customers, not supplied.
    CustomerDeposits,
    /// VAT that fell due on prepayments; reversed at supply or cancellation.
    OutputVat,
    /// Tax on supplies made.
    TaxPayable,
    /// To be paid back to customers.
    RefundsPayable,
    /// Cost of goods that left before their receipt was recorded, at provisional cost.
    UnreceivedStock,
    /// Opening balances.
    OpeningEquity,
    /// What migration passes through; ends at zero.
    MigrationClearing,
    /// Sales, gross of discounts and returns.
    Sales,
    /// Discounts granted, a contra account.
    Discounts,
    /// Sales taken back, net of discount; a contra account.
    SalesReturns,
    /// Cost of goods sold.
    CostOfGoodsSold,
    /// Stock losses and finds.
    Shrinkage,
    /// Goods written off: after inspection, in a condition that can't be sold, or as not worth their disposition.
    WriteOff,
    /// Goods that arrived and are held in receiving, because they differ from what was ordered.
    GoodsHeld,
    /// Goods between two nodes, at the cost at which they left.
    InTransit,
    /// What conversions (kits) pass through; ends at zero.
    Conversion,
    /// Returned goods that wait to be refurbished, at cost.
    Refurbishment,
    /// Returned goods that wait to be sold off, at net realisable value as stated.
    LiquidationStock,
    /// Returned goods that wait to go back to their supplier, at cost.
    VendorReturns,
    /// Goods that went back to suppliers, at cost: to be credited by them.
    SupplierClaims,
    /// Goods that left a node for another, and never arrived.
    TransitLoss,
    /// Goods that a node used itself.
    InternalUse,
    /// Goods written down to net realisable value.
    WriteDown,
    /// Refunds for goods that customers keep; a contra account of sales.
    SalesAllowances,
    /// What was kept of a refund for returned goods.
    RestockingFees,
}

/// What an account is kept by: the last part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// One account.
    Nothing,
    /// One for each node.
    Node,
    /// One for each sales channel.
    Channel,
    /// One for each tax jurisdiction.
    Jurisdiction,
    /// One for each other legal entity.
    Counterparty,
    /// One for each pair of nodes that goods move between.
    Lane,
}

/// One line of the chart.
#[derive(Clone, Copy, Debug)]
pub struct ChartLine {
    /// Role.
    pub role: Role,
    /// Name without its last part.
    pub name: &'static str,
    /// What the last part is.
    pub by: By,
}

const fn line(role: Role, name: &'static str, by: By) -> ChartLine {
    ChartLine { role, name, by }
}

/// The default chart of a retailer. In the order of [`Role`].
pub const RETAIL_CHART: [ChartLine; 35] = [
    line(Role::Inventory, "Assets:Inventory", By::Node),
    line(Role::ReturnsPending, "Assets:ReturnsPending", By::Node),
    line(Role::PspClearing, "Assets:PspClearing", By::Nothing),
    line(Role::CashClearing, "Assets:CashClearing", By::Node),
    line(Role::CardClearing, "Assets:CardClearing", By::Node),
    line(Role::AccountsReceivable, "Assets:AccountsReceivable", By::Nothing),
    line(Role::CouponReceivable, "Assets:CouponReceivable", By::Nothing),
    line(Role::VatOnDeposits, "Assets:VatOnDeposits", By::Jurisdiction),
    line(Role::Intercompany, "Assets:Intercompany", By::Counterparty),
    line(Role::Grni, "Liabilities:Grni", By::Nothing),
    line(Role::CustomerDeposits, "Liabilities:CustomerDeposits", By::Nothing),
    line(Role::OutputVat, "Liabilities:OutputVat", By::Jurisdiction),
    line(Role::TaxPayable, "Liabilities:TaxPayable", By::Jurisdiction),
    line(Role::RefundsPayable, "Liabilities:RefundsPayable", By::Nothing),
    line(Role::UnreceivedStock, "Liabilities:UnreceivedStock", By::Node),
    line(Role::OpeningEquity, "Equity:OpeningBalances", By::Nothing),
    line(Role::MigrationClearing, "Equity:MigrationClearing", By::Nothing),
    line(Role::Sales, "Income:Sales", By::Channel),
    line(Role::Discounts, "Income:Discounts", By::Channel),
    line(Role::SalesReturns, "Income:SalesReturns", By::Channel),
    line(Role::CostOfGoodsSold, "Expenses:CostOfGoodsSold", By::Nothing),
    line(Role::Shrinkage, "Expenses:Shrinkage", By::Node),
    line(Role::WriteOff, "Expenses:WriteOff", By::Node),
    line(Role::GoodsHeld, "Assets:GoodsHeld", By::Node),
    line(Role::InTransit, "Assets:InTransit", By::Lane),
    line(Role::Conversion, "Assets:Conversion", By::Node),
    line(Role::Refurbishment, "Assets:Refurbishment", By::Node),
    line(Role::LiquidationStock, "Assets:LiquidationStock", By::Node),
    line(Role::VendorReturns, "Assets:VendorReturns", By::Node),
    line(Role::SupplierClaims, "Assets:SupplierClaims", By::Nothing),
    line(Role::TransitLoss, "Expenses:TransitLoss", By::Node),
    line(Role::InternalUse, "Expenses:InternalUse", By::Node),
    line(Role::WriteDown, "Expenses:WriteDown", By::Node),
    line(Role::SalesAllowances, "Income:SalesAllowances", By::Channel),
    line(Role::RestockingFees, "Income:RestockingFees", By::Channel),
];

/// The line of a role.
#[must_use]
pub fn chart_line(role: Role) -> &'static ChartLine {
    // The chart is in the order of `Role`, which a test holds it to.
    &RETAIL_CHART[role as usize]
}

/// One part of an account name: the first letter made a capital, what beancount's grammar has no place for made a dash.
/// Nodes keep apart, as their ids have no capitals.
#[must_use]
pub fn part(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    match name.as_bytes().first() {
        Some(first) if first.is_ascii_alphanumeric() => name[..1].make_ascii_uppercase(),
        _ => name.insert(0, 'X'),
    }
    name
}

/// An account name with the entity as its second part, as exports write it: `Assets:Retail-Uk:Inventory:Dc-1`.
#[must_use]
pub fn with_entity(account: &str, entity_part: &str) -> String {
    match account.split_once(':') {
        Some((root, rest)) => format!("{root}:{entity_part}:{rest}"),
        None => format!("{account}:{entity_part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_in_the_order_of_roles_and_names_differ() {
        for (n, line) in RETAIL_CHART.iter().enumerate() {
            assert_eq!(line.role as usize, n, "{:?}", line.role);
            assert!(RETAIL_CHART.iter().filter(|other| other.name == line.name).count() == 1, "{}", line.name);
        }
    }

    #[test]
    fn parts_fit_the_grammar_of_beancount() {
        for (text, name) in
            [("dc-1", "Dc-1"), ("US-OH", "US-OH"), ("", "X"), ("-web", "X-web"), ("3pl", "3pl"), ("É b", "X--b")]
        {
            assert_eq!(part(text), name, "{text:?}");
        }
        assert_eq!(with_entity("Assets:Inventory:Dc-1", "Retail-Uk"), "Assets:Retail-Uk:Inventory:Dc-1");
    }
}
