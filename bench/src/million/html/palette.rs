//! The colours, light and dark, and the styles made of them.
//!
//! Series have the hues of Okabe and Ito, which people with any colour blindness tell apart; they are lighter on dark.

/// Colour of a series, the same for the same thing in all plots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// The broker.
    Blue,
    /// The kernel.
    Orange,
    /// The load generator.
    Green,
    /// TCP's buffers; the third of three series.
    Pink,
    /// What nobody claims.
    Grey,
}

impl Colour {
    /// Its class in SVG and HTML, and its variable in the style.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Orange => "orange",
            Self::Green => "green",
            Self::Pink => "pink",
            Self::Grey => "grey",
        }
    }
}

/// Variables of the style: name, light, dark.
const VARIABLES: [(&str, &str, &str); 15] = [
    ("page", "#f4f6f8", "#0e1217"),
    ("panel", "#ffffff", "#161c24"),
    ("border", "#dfe4ea", "#29323d"),
    ("ink", "#17202a", "#e4e9ef"),
    ("muted", "#5b6775", "#98a5b3"),
    ("rule", "#e6eaef", "#262f3a"),
    ("band", "#f0f3f7", "#1c242e"),
    ("blue", "#0072b2", "#4ba9e2"),
    ("orange", "#e69f00", "#e8ab35"),
    ("green", "#009e73", "#2cb890"),
    ("pink", "#cc79a7", "#da90b9"),
    ("grey", "#a3adb8", "#6d7885"),
    ("good", "#00754f", "#45c79c"),
    ("warn", "#8a5a00", "#eab54a"),
    ("bad", "#b3261e", "#ff8a80"),
];

const PLOT: &str = include_str!("plot.css");
const PAGE: &str = include_str!("page.css");

/// The style of the page, for both colour schemes.
pub(super) fn page_style() -> String {
    let light: String = VARIABLES.iter().map(|(name, light, _)| format!("--{name}:{light};")).collect();
    let dark: String = VARIABLES.iter().map(|(name, _, dark)| format!("--{name}:{dark};")).collect();
    format!(
        ":root{{color-scheme:light dark;{light}}}\n\
         @media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{PAGE}{PLOT}"
    )
}

/// The style within a standalone SVG: light, on a ground of its own, without variables, which some viewers lack.
pub(super) fn standalone_style() -> String {
    VARIABLES
        .iter()
        .fold(PLOT.to_owned(), |style, (name, light, _)| style.replace(&format!("var(--{name})"), light))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_defined() {
        let style = page_style();
        for used in style.split("var(--").skip(1) {
            let name = used.split(')').next().unwrap_or_default();
            assert_eq!(style.matches(&format!("--{name}:")).count(), 2, "{name}, light and dark");
        }
        assert!(!standalone_style().contains("var("), "{}", standalone_style());
    }

    #[test]
    fn every_series_has_its_classes() {
        for colour in [Colour::Blue, Colour::Orange, Colour::Green, Colour::Pink, Colour::Grey] {
            for class in ["line", "fill"] {
                assert!(PLOT.contains(&format!(".{class}.{}{{", colour.class())), "{class} {colour:?}");
            }
        }
    }
}
