//! Distances between places, the one use of floats: they decide, and nothing that is logged depends on their last bit.

use stockmesh_proto::common::v1::Place;

/// Mean radius of the earth.
pub(crate) const RADIUS_KM: f64 = 6_371.008_8;

/// A place as a vector of length 1 from the centre of the earth: the angle between two of them is the great circle.
pub(crate) type Direction = [f64; 3];

/// The direction of a place.
pub(crate) fn direction(place: &Place) -> Direction {
    let radians = |e7: i32| (f64::from(e7) / 1e7).to_radians();
    let (latitude, longitude) = (radians(place.latitude_e7), radians(place.longitude_e7));
    let (sin_latitude, cos_latitude) = latitude.sin_cos();
    let (sin_longitude, cos_longitude) = longitude.sin_cos();
    [cos_latitude * cos_longitude, cos_latitude * sin_longitude, sin_latitude]
}

/// Great-circle distance in whole kilometres. The half chord is the haversine's root: exact for near places too.
pub(crate) fn kilometres(a: Direction, b: Direction) -> i64 {
    let chord_squared: f64 = a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum();
    let half_chord = (chord_squared.sqrt() / 2.0).min(1.0);
    // At most half the circumference, 20,015 km.
    #[allow(clippy::cast_possible_truncation)]
    let whole = (2.0 * RADIUS_KM * half_chord.asin()).round() as i64;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
        Place { latitude_e7: e7(latitude), longitude_e7: e7(longitude), ..Place::default() }
    }

    #[test]
    fn known_distances() {
        let cases = [
            ((51.5074, -0.1278), (48.8566, 2.3522), 344),       // London to Paris
            ((40.7128, -74.0060), (34.0522, -118.2437), 3_936), // New York to Los Angeles
            ((0.0, 0.0), (0.0, 180.0), 20_015),                 // antipodes
            ((52.0, 13.0), (52.0, 13.0), 0),
            ((-33.8688, 151.2093), (-36.8509, 174.7645), 2_156), // across no pole, Sydney to Auckland
        ];
        for (a, b, expected) in cases {
            let (a, b) = (direction(&place(a.0, a.1)), direction(&place(b.0, b.1)));
            assert_eq!(kilometres(a, b), expected);
            assert_eq!(kilometres(b, a), expected);
        }
    }
}
