//! What all figures share: sizes, colours and marks.
//!
//! Lengths are canvas units. A canvas is [`WIDTH`] units wide and shown at most [`SHOWN_WIDTH`] CSS pixels wide, because
//! plotters places everything on whole units: at this ratio their rounding is not seen.

use plotters::style::RGBColor;

/// Width of every canvas.
pub(super) const WIDTH: u32 = 1120;
/// Widest a figure is shown, in CSS pixels.
pub(super) const SHOWN_WIDTH: u32 = 680;

pub(super) const TITLE_SIZE: f64 = 30.0;
pub(super) const LABEL_SIZE: f64 = 26.0;
pub(super) const TICK_SIZE: f64 = 23.0;

pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const FAINT: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
pub(super) const GREY: RGBColor = RGBColor(0xb8, 0xb8, 0xb8);
pub(super) const WHITE: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// For lines that the eye compares with: identity, Poisson, a median.
pub(super) const GUIDE: RGBColor = RGBColor(0x6b, 0x6b, 0x6b);

pub(super) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
pub(super) const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

/// The colours of Okabe and Ito (2008), told apart under every common colour blindness; black is left to [`INK`], and
/// yellow, faint on white, comes last.
pub(super) const OKABE_ITO: [RGBColor; 7] = [
    BLUE,
    VERMILLION,
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xf0, 0xe4, 0x42),
];

/// The shape of a point, so that categories differ without colour too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Square,
    Triangle,
    Diamond,
    TriangleDown,
    Cross,
    Plus,
}

/// In the order of [`OKABE_ITO`].
pub(super) const MARKS: [Mark; 7] =
    [Mark::Circle, Mark::Square, Mark::Triangle, Mark::Diamond, Mark::TriangleDown, Mark::Cross, Mark::Plus];

impl Mark {
    /// Corners around the origin for a mark about as large as a disc of radius `r`; empty for a circle.
    pub(super) fn corners(self, r: f64) -> Vec<(f64, f64)> {
        const THIRD: f64 = 0.34;
        let plus = [
            (-THIRD, -1.2),
            (THIRD, -1.2),
            (THIRD, -THIRD),
            (1.2, -THIRD),
            (1.2, THIRD),
            (THIRD, THIRD),
            (THIRD, 1.2),
            (-THIRD, 1.2),
            (-THIRD, THIRD),
            (-1.2, THIRD),
            (-1.2, -THIRD),
            (-THIRD, -THIRD),
        ];
        let unit: Vec<(f64, f64)> = match self {
            Self::Circle => Vec::new(),
            Self::Square => vec![(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
            Self::Triangle => vec![(0.0, -1.25), (1.15, 0.75), (-1.15, 0.75)],
            Self::TriangleDown => vec![(0.0, 1.25), (1.15, -0.75), (-1.15, -0.75)],
            Self::Diamond => vec![(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)],
            Self::Plus => plus.to_vec(),
            Self::Cross => {
                let turn = std::f64::consts::FRAC_1_SQRT_2;
                plus.iter().map(|(x, y)| ((x - y) * turn, (x + y) * turn)).collect()
            }
        };
        unit.into_iter().map(|(x, y)| (x * r, y * r)).collect()
    }
}

/// Colour and mark of category or series `i`; they repeat after seven.
pub(super) fn nth(i: usize) -> (RGBColor, Mark) {
    (OKABE_ITO[i % OKABE_ITO.len()], MARKS[i % MARKS.len()])
}

/// About how wide a sans-serif text of this size is; wide enough for the common fonts.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let ems: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | '(' | ')' | 't' | 'f' => 0.36,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.92,
            c if c.is_uppercase() => 0.70,
            _ => 0.60,
        })
        .sum();
    ems * size
}

/// The text in lines no wider than `width`, broken between words, about equally long; what does not fit into `most` lines is
/// cut.
pub(super) fn wrap(text: &str, size: f64, width: f64, most: usize) -> Vec<String> {
    let mut lines = broken(text, size, width);
    if lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        lines.push(rest);
    } else {
        let mut narrower = (5..10).map(|tenths| broken(text, size, width * f64::from(tenths) / 10.0));
        let alike = narrower.find(|others| others.len() == lines.len());
        lines = alike.unwrap_or(lines);
    }
    lines.iter().map(|line| shorten(line, size, width)).collect()
}

/// The words in as many lines as they need; a word that is wider than `width` has a line of its own.
fn broken(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), size) <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The text, or its beginning and an ellipsis where it is wider than `width`.
pub(super) fn shorten(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut short: String = text.to_owned();
    while !short.is_empty() && text_width(&short, size) + 0.6 * size > width {
        short.pop();
    }
    short.trim_end().to_owned() + "…"
}
