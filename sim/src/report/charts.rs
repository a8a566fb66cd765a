//! Charts as inline SVG: no script, no font, no file from elsewhere. Colours come from the page's CSS variables.

use maud::{Markup, html};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 14.0;

/// A moment that a chart marks.
pub struct Mark {
    /// Where, on the horizontal axis.
    pub at: f64,
    /// What happened.
    pub what: String,
}

/// A round number at or above `value`, for the top of an axis.
fn ceiling(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(value)
}

fn axis_label(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.1}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{:.0}k", value / 1e3)
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn x(at: f64, span: f64) -> f64 {
    LEFT + at / span * (WIDTH - LEFT - 10.0)
}

fn y(value: f64, top: f64) -> f64 {
    HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)
}

fn frame(title: &str, top: f64, span: f64, unit: &str, marks: &[Mark], body: &Markup) -> Markup {
    html! {
        figure {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
                @for part in 0..=4u8 {
                    @let value = top * f64::from(part) / 4.0;
                    line.grid x1=(LEFT) x2=(WIDTH - 10.0) y1=(y(value, top)) y2=(y(value, top)) {}
                    text.axis x=(LEFT - 8.0) y=(y(value, top) + 4.0) text-anchor="end" { (axis_label(value)) }
                }
                @for part in 0..=4u8 {
                    @let value = span * f64::from(part) / 4.0;
                    text.axis x=(x(value, span)) y=(HEIGHT - 8.0) text-anchor="middle" { (axis_label((value * 10.0).round() / 10.0)) (unit) }
                }
                (body)
                @for (n, mark) in marks.iter().enumerate() {
                    line.mark x1=(x(mark.at, span)) x2=(x(mark.at, span)) y1=(TOP) y2=(HEIGHT - BOTTOM) { title { (mark.what) } }
                    text.number x=(x(mark.at, span) + 3.0) y=(TOP + 8.0) { (n + 1) }
                }
            }
            @if !marks.is_empty() {
                p.legend {
                    @for (n, mark) in marks.iter().enumerate() { span { b { (n + 1) } " " (mark.what) } " " }
                }
            }
        }
    }
}

/// Bars of equal width over time, one a second.
#[must_use]
pub fn bars_over_time(title: &str, values: &[u64], marks: &[Mark]) -> Markup {
    let span = values.len().max(1) as f64;
    let top = ceiling(values.iter().copied().max().unwrap_or(1) as f64);
    let width = ((WIDTH - LEFT - 10.0) / span).max(0.6) * 0.86;
    let body = html! {
        @for (n, value) in values.iter().enumerate() {
            @let at = y(*value as f64, top);
            rect.bar x=(format!("{:.1}", x(n as f64, span))) y=(format!("{at:.1}")) width=(format!("{width:.1}"))
                height=(format!("{:.1}", HEIGHT - BOTTOM - at)) { title { "second " (n) ": " (value) } }
        }
    };
    frame(title, top, span, " s", marks, &body)
}

/// A line over time: points of (seconds, value).
#[must_use]
pub fn line_over_time(title: &str, points: &[(f64, f64)], marks: &[Mark]) -> Markup {
    let span = points.last().map_or(1.0, |(at, _)| at.max(1.0));
    let top = ceiling(points.iter().map(|(_, value)| *value).fold(1.0, f64::max));
    let path: Vec<String> =
        points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at, span), y(*value, top))).collect();
    let body = html! { polyline.line points=(path.join(" ")) {} };
    frame(title, top, span, " s", marks, &body)
}

/// Bars with names, sideways.
#[must_use]
pub fn named_bars(title: &str, unit: &str, rows: &[(String, f64)]) -> Markup {
    let top = rows.iter().map(|(_, value)| *value).fold(1.0, f64::max);
    let (row, left) = (24.0, 150.0);
    let height = row * rows.len() as f64 + 8.0;
    html! {
        figure {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(title) {
                @for (n, (name, value)) in rows.iter().enumerate() {
                    @let at = row * n as f64 + 4.0;
                    text.axis x=(left - 8.0) y=(at + 14.0) text-anchor="end" { (name) }
                    rect.bar x=(left) y=(at + 2.0) height="16" width=(format!("{:.1}", (value / top * (WIDTH - left - 110.0)).max(1.0))) {}
                    text.axis x=(format!("{:.1}", left + (value / top * (WIDTH - left - 110.0)).max(1.0) + 6.0)) y=(at + 14.0) { (axis_label(*value)) (unit) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in [(0.0, 1.0), (7.0, 10.0), (11.0, 20.0), (24.0, 25.0), (501.0, 1_000.0)] {
            assert!((ceiling(value) - top).abs() < 1e-9, "{value}: {}", ceiling(value));
        }
    }
}
