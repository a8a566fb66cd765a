//! Places for customers and stores, which the files name by country at best. The same name always gives the same place.

use stockmesh_proto::common::v1::Place;

use super::stable_hash;

/// A place of the tables: latitude and longitude in hundredths of a degree.
type City = (&'static str, i32, i32);

/// Cities of the United Kingdom; the larger ones are listed more than once, so that more customers live there.
const UK_CITIES: [City; 28] = [
    ("London", 5151, -13),
    ("London", 5151, -13),
    ("London", 5151, -13),
    ("London", 5151, -13),
    ("Birmingham", 5248, -190),
    ("Birmingham", 5248, -190),
    ("Manchester", 5348, -224),
    ("Manchester", 5348, -224),
    ("Glasgow", 5586, -425),
    ("Glasgow", 5586, -425),
    ("Leeds", 5380, -155),
    ("Leeds", 5380, -155),
    ("Liverpool", 5341, -299),
    ("Newcastle", 5498, -161),
    ("Sheffield", 5338, -147),
    ("Bristol", 5145, -259),
    ("Belfast", 5460, -593),
    ("Leicester", 5264, -113),
    ("Edinburgh", 5595, -319),
    ("Cardiff", 5148, -318),
    ("Nottingham", 5295, -115),
    ("Southampton", 5090, -140),
    ("Plymouth", 5038, -414),
    ("Norwich", 5263, 130),
    ("Brighton", 5082, -14),
    ("Aberdeen", 5715, -209),
    ("Oxford", 5175, -126),
    ("Cambridge", 5221, 12),
];

/// Cities around which the stores of Complete Journey are put; the file says nothing of where they are.
const US_CITIES: [City; 24] = [
    ("Cincinnati", 3910, -8451),
    ("Columbus", 3996, -8300),
    ("Dayton", 3976, -8419),
    ("Cleveland", 4150, -8169),
    ("Toledo", 4165, -8354),
    ("Indianapolis", 3977, -8616),
    ("Fort Wayne", 4108, -8514),
    ("Louisville", 3825, -8576),
    ("Lexington", 3804, -8450),
    ("Nashville", 3616, -8678),
    ("Memphis", 3515, -9005),
    ("Atlanta", 3375, -8439),
    ("Detroit", 4233, -8305),
    ("Grand Rapids", 4296, -8567),
    ("Knoxville", 3596, -8392),
    ("Charleston", 3835, -8163),
    ("St. Louis", 3863, -9020),
    ("Peoria", 4069, -8959),
    ("Houston", 2976, -9537),
    ("Dallas", 3278, -9680),
    ("Denver", 3974, -10499),
    ("Phoenix", 3345, -11207),
    ("Little Rock", 3475, -9229),
    ("Richmond", 3754, -7744),
];

/// A country of the UCI file: its name there, ISO code, a place in it.
type Country = (&'static str, &'static str, i32, i32);

/// Countries as the two editions of the UCI file name them.
const COUNTRIES: [Country; 45] = [
    ("eire", "IE", 5335, -626),
    ("germany", "DE", 5116, 1045),
    ("france", "FR", 4660, 219),
    ("spain", "ES", 4046, -375),
    ("netherlands", "NL", 5213, 529),
    ("switzerland", "CH", 4682, 823),
    ("portugal", "PT", 3940, -822),
    ("belgium", "BE", 5050, 447),
    ("cyprus", "CY", 3513, 3343),
    ("australia", "AU", -3387, 15121),
    ("norway", "NO", 5991, 1075),
    ("italy", "IT", 4187, 1257),
    ("japan", "JP", 3568, 13969),
    ("sweden", "SE", 5933, 1806),
    ("poland", "PL", 5192, 1915),
    ("iceland", "IS", 6413, -2190),
    ("channel islands", "JE", 4921, -213),
    ("hong kong", "HK", 2232, 11417),
    ("singapore", "SG", 135, 10382),
    ("lebanon", "LB", 3389, 3550),
    ("denmark", "DK", 5568, 1257),
    ("finland", "FI", 6017, 2494),
    ("lithuania", "LT", 5517, 2388),
    ("israel", "IL", 3208, 3478),
    ("greece", "GR", 3798, 2373),
    ("austria", "AT", 4752, 1455),
    ("united arab emirates", "AE", 2520, 5527),
    ("czech republic", "CZ", 4982, 1547),
    ("saudi arabia", "SA", 2471, 4668),
    ("bahrain", "BH", 2623, 5059),
    ("canada", "CA", 4365, -7938),
    ("usa", "US", 4071, -7401),
    ("brazil", "BR", -2355, -4663),
    ("malta", "MT", 3590, 1451),
    ("rsa", "ZA", -2620, 2804),
    ("european community", "BE", 5085, 435),
    ("nigeria", "NG", 652, 338),
    ("thailand", "TH", 1376, 10050),
    ("korea", "KR", 3757, 12698),
    ("bermuda", "BM", 3229, -6478),
    ("west indies", "BB", 1310, -5961),
    ("luxembourg", "LU", 4961, 613),
    ("hungary", "HU", 4750, 1904),
    ("romania", "RO", 4443, 2610),
    ("turkey", "TR", 4101, 2898),
];

/// The jurisdiction of the United Kingdom, in whose VAT all sales of the UCI file fall.
pub const UK: &str = "GB";

/// How the reader took a customer's country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The United Kingdom: the standard rate of VAT applies.
    Uk,
    /// Another country: zero-rated.
    Abroad,
    /// A name that the table does not have: zero-rated, and placed in London for want of better.
    Unknown,
}

fn place(country_code: &str, latitude: i32, longitude: i32, spread: u64) -> Place {
    // Up to 0.15 degrees either way, some 15 km, so that customers of a city don't all share one point.
    let jitter = |hash: u64| i32::try_from(hash % 3_000_001).map_or(0, |offset| offset - 1_500_000);
    let (north, east) = if spread == 0 { (0, 0) } else { (jitter(spread >> 8), jitter(spread >> 33)) };
    Place {
        country_code: country_code.to_owned(),
        postal_code: String::new(),
        latitude_e7: latitude * 100_000 + north,
        longitude_e7: longitude * 100_000 + east,
    }
}

fn city(table: &[City], country_code: &str, key: &str) -> Place {
    let hash = stable_hash(key);
    let at = usize::try_from(hash % table.len() as u64).unwrap_or(0);
    let (_, latitude, longitude) = table[at];
    place(country_code, latitude, longitude, hash)
}

/// Where a customer in the United Kingdom lives: a city by a hash of the customer's reference.
#[must_use]
pub fn in_the_uk(customer: &str) -> Place {
    city(&UK_CITIES, UK, customer)
}

/// Where a store of Complete Journey stands, or a household that shops there.
#[must_use]
pub fn in_the_us(key: &str) -> Place {
    city(&US_CITIES, "US", key)
}

/// Near another place: a household near its store.
#[must_use]
pub fn near(other: &Place, key: &str) -> Place {
    let offset = |hash: u64| i32::try_from(hash % 2_000_001).map_or(0, |offset| offset - 1_000_000);
    let hash = stable_hash(key);
    Place {
        latitude_e7: other.latitude_e7 + offset(hash >> 8),
        longitude_e7: other.longitude_e7 + offset(hash >> 33),
        ..other.clone()
    }
}

/// Where a customer of the UCI file lives, by the country as the file names it.
#[must_use]
pub fn by_country(country: &str, customer: &str) -> (Place, Destination) {
    let name = country.trim().to_lowercase();
    if name == "united kingdom" || name == "unspecified" || name.is_empty() {
        return (in_the_uk(customer), Destination::Uk);
    }
    match COUNTRIES.iter().find(|(known, ..)| *known == name) {
        Some((_, code, latitude, longitude)) => (place(code, *latitude, *longitude, 0), Destination::Abroad),
        None => (place("XX", 5151, -13, 0), Destination::Unknown),
    }
}

/// Countries for generated customers abroad, by how often the UCI file has them.
#[must_use]
pub fn abroad(draw: usize) -> Place {
    let often = [1, 1, 1, 1, 2, 2, 2, 0, 0, 3, 4, 5, 6, 7, 8, 10, 11, 9];
    let (_, code, latitude, longitude) = COUNTRIES[often[draw % often.len()]];
    place(code, latitude, longitude, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_on_the_globe_and_stays_where_it_is() {
        let mut seen = std::collections::BTreeSet::new();
        for customer in 0..500 {
            let key = customer.to_string();
            let home = in_the_uk(&key);
            assert_eq!(home, in_the_uk(&key));
            assert!((490_000_000..600_000_000).contains(&home.latitude_e7), "{home:?}");
            stockmesh_proto::convert::check_place(&Some(home.clone()), "p").unwrap();
            stockmesh_proto::convert::check_place(&Some(near(&in_the_us(&key), &key)), "p").unwrap();
            seen.insert((home.latitude_e7, home.longitude_e7));
        }
        assert!(seen.len() > 450, "customers are spread: {}", seen.len());
        for (name, ..) in COUNTRIES {
            let (place, how) = by_country(name, "c");
            assert_eq!(how, Destination::Abroad);
            stockmesh_proto::convert::check_place(&Some(place), "p").unwrap();
        }
    }

    #[test]
    fn countries_are_known_whatever_their_case() {
        for (name, code, how) in [
            ("United Kingdom", "GB", Destination::Uk),
            ("Unspecified", "GB", Destination::Uk),
            ("EIRE", "IE", Destination::Abroad),
            ("Germany", "DE", Destination::Abroad),
            ("Atlantis", "XX", Destination::Unknown),
        ] {
            let (place, got) = by_country(name, "c");
            assert_eq!((place.country_code.as_str(), got), (code, how), "{name}");
        }
    }
}
