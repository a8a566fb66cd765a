//! Rows as dirty as the real ones, each with what must become of it.

use std::path::Path;

use super::super::model::Totals;
use super::*;

fn read_text(body: &str, limit: Option<usize>) -> Stream {
    let text = format!("{}\n{body}", COLUMNS.join(","));
    let lines = Lines::from_reader(Path::new("t.csv"), Box::new(std::io::Cursor::new(text.into_bytes()))).unwrap();
    read(lines, ReadOptions { limit, stores: 12, seed: 1 }).unwrap()
}

const SALE: &str = "536365,85123A,\"HEART, \"\"WHITE\"\"\",6,2010-12-01 08:26:00,2.55,17850,United Kingdom";

#[test]
fn every_class_of_line_goes_where_the_rules_say() {
    use LeftOutReason::*;
    let cases = [
        ("1,POST,POSTAGE,1,2010-12-01 08:26:00,18,1,France", Some(NotAGood)),
        ("1,gift_0001_20,VOUCHER,1,2010-12-01 08:26:00,18,1,France", Some(NotAGood)),
        ("1,BANK CHARGES,,1,2010-12-01 08:26:00,18,1,France", Some(NotAGood)),
        ("1,DCGS0003,ASHTRAY,1,2010-12-01 08:26:00,2.5,1,France", None),
        ("1,85099c,BAG,1,2010-12-01 08:26:00,2.5,1,France", None),
        ("1,8509,BAG,1,2010-12-01 08:26:00,2.5,1,France", Some(NotAGood)),
        ("A563185,B,Adjust bad debt,1,2011-08-12 14:50:00,11062.06,,United Kingdom", Some(OtherDocument)),
        ("1,85123A,HEART,6,2010-12-01 08:26:00,0,1,France", Some(NoPrice)),
        ("1,85123A,HEART,6,2010-12-01 08:26:00,-1,1,France", Some(NoPrice)),
        ("1,85123A,,-6,2010-12-01 08:26:00,0,,United Kingdom", Some(NoPrice)),
        ("1,85123A,damages,-6,2010-12-01 08:26:00,1.5,,United Kingdom", Some(StockAdjustment)),
        ("1,85123A,HEART,0,2010-12-01 08:26:00,1.5,1,France", Some(ZeroQuantity)),
        ("C2,85123A,HEART,6,2010-12-01 09:26:00,1.5,1,France", Some(PositiveCredit)),
        ("C2,85123A,HEART,-6,2010-12-01 09:26:00,1.5,,France", Some(CreditWithoutCustomer)),
        ("C2,85123A,HEART,-6,2010-12-01 09:26:00,1.5,1,France", Some(CreditWithoutSale)),
        ("C2,M,Manual,-1,2010-12-01 09:26:00,1.5,1,France", Some(NotAGood)),
        ("1,85123A,HEART,six,2010-12-01 08:26:00,1.5,1,France", Some(Malformed)),
        ("1,85123A,HEART,6,yesterday,1.5,1,France", Some(Malformed)),
        ("1,85123A,HEART,6,2010-12-01 08:26:00,cheap,1,France", Some(Malformed)),
        ("1,85123A,HEART,6,2010-12-01 08:26:00,1.5,1", Some(Malformed)),
        ("1,85123A,\"HEART,6,2010-12-01 08:26:00,1.5,1,France", Some(Malformed)),
        ("1,85123A,HEART,99999999999,2010-12-01 08:26:00,1.5,1,France", Some(Malformed)),
        ("1,85123A,HEART,1000000000,2010-12-01 08:26:00,99999999,1,France", Some(Malformed)),
        (",85123A,HEART,6,2010-12-01 08:26:00,1.5,1,France", Some(Malformed)),
    ];
    for (line, want) in cases {
        let stream = read_text(&format!("{line}\n{SALE}\n"), None);
        let got: Vec<_> = stream.left_out.classes.keys().copied().collect();
        assert_eq!(got, want.into_iter().collect::<Vec<_>>(), "{line}");
        let orders = 1 + usize::from(want.is_none());
        assert_eq!((stream.lines_read, stream.events.len()), (2, orders), "{line}");
    }
}

#[test]
fn malformed_lines_are_named_by_number_and_spoil_no_other() {
    let stream = read_text(&format!("{SALE}\n1,\"85123A,x\n{SALE}\n"), None);
    let class = &stream.left_out.classes[&LeftOutReason::Malformed];
    assert_eq!(
        (class.lines, class.examples.as_slice()),
        (1, &["line 3: a quote is not closed on its line".to_owned()][..])
    );
    assert_eq!(stream.totals().lines, 2);
}

#[test]
fn vat_changes_on_the_fourth_of_january_and_is_zero_abroad() {
    let stream = read_text(
        "1,85123A,H,3,2011-01-03 23:59:00,0.33,1,United Kingdom\n\
         2,85123A,H,3,2011-01-04 00:00:00,0.33,1,United Kingdom\n\
         3,85123A,H,3,2011-01-04 00:00:00,0.33,2,Germany\n",
        None,
    );
    let Totals { units, taxes, .. } = stream.totals();
    let gb = |ppm| taxes[&("GB".to_owned(), ppm)];
    // 99 pence: 17.325 -> 17; 19.8 -> 20; 0.
    assert_eq!((units, gb(175_000), gb(200_000), gb(0)), (9, (99, 17), (99, 20), (99, 0)));
    assert_eq!(stream.items[0].unit_cost_minor, 19);
}

#[test]
fn a_credit_note_takes_back_the_latest_purchase_in_any_case_of_the_code() {
    let stream = read_text(
        "1,85123A,H,6,2010-12-01 08:00:00,2,7,United Kingdom\n\
         2,85123a,H,2,2011-01-05 08:00:00,2,7,United Kingdom\n\
         C3,85123A,H,-3,2011-01-06 08:00:00,2,7,United Kingdom\n\
         C4,85123A,H,-9,2011-01-07 08:00:00,2,7,United Kingdom\n",
        None,
    );
    let got: Vec<_> = stream.returns.iter().map(|r| (r.bought_on.as_str(), r.line, r.quantity)).collect();
    assert_eq!(got, [("2", 1, 2), ("1", 1, 1), ("1", 1, 5)]);
    let class = &stream.left_out.classes[&LeftOutReason::CreditWithoutSale];
    assert_eq!((class.lines, class.units, class.amount_minor), (1, 4, -800));
}

#[test]
fn the_limit_counts_sale_invoices() {
    let body = "1,85123A,H,6,2010-12-01 08:00:00,2,7,EIRE\nC9,85123A,H,-1,2010-12-01 08:01:00,2,7,EIRE\n1,POST,P,1,2010-12-01 08:00:00,2,7,EIRE\n2,85123A,H,6,2010-12-01 08:00:00,2,7,EIRE\n";
    for (limit, lines_read, orders) in [(Some(1), 3, 1), (Some(2), 4, 2), (None, 4, 2)] {
        let stream = read_text(body, limit);
        assert_eq!((stream.lines_read, stream.events.len()), (lines_read, orders), "{limit:?}");
    }
}

#[test]
fn long_invoices_are_split_and_items_may_come_twice() {
    let line = "7,85123A,H,1,2010-12-01 08:00:00,2,,United Kingdom\n";
    let stream = read_text(&line.repeat(4_001), None);
    let got: Vec<_> = stream.orders().map(|order| (order.order_id.as_str(), order.lines.len())).collect();
    assert_eq!(got, [("7", 2_000), ("7-2", 2_000), ("7-3", 1)]);
}
