//! Scalable vector graphics as text: what this tool's pictures are made of.

use std::fmt::Write as _;

/// A picture that grows, white to begin with.
pub(crate) struct Svg(String);

impl Svg {
    /// An empty one of this size.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        let mut svg = Self(String::new());
        svg.add(format_args!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif" font-size="12" fill="#333">
<rect width="100%" height="100%" fill="#fff"/>"##
        ));
        svg
    }

    /// A line of text that begins, or by its style ends, at `(x, y)`; `style` is attributes.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), style: &str, text: &str) {
        self.add(format_args!(r#"<text x="{x:.1}" y="{y:.1}" {style}>{}</text>"#, escaped(text)));
    }

    /// A rectangle from its upper left corner.
    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), style: &str) {
        self.add(format_args!(r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" {style}/>"#));
    }

    /// A path of commands.
    pub(crate) fn path(&mut self, data: &str, style: &str) {
        self.add(format_args!(r#"<path d="{data}" {style}/>"#));
    }

    /// A line of this colour that fills nothing.
    pub(crate) fn line(&mut self, data: &str, colour: &str) {
        self.path(data, &format!(r#"fill="none" stroke="{colour}""#));
    }

    /// The whole document.
    pub(crate) fn finish(mut self) -> String {
        self.add(format_args!("</svg>"));
        self.0
    }

    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let mut svg = Svg::new(100.0, 50.0);
        svg.text((1.0, 2.0), "", "a<b> & \"c\"");
        let svg = svg.finish();
        assert!(svg.contains("a&lt;b&gt; &amp; &quot;c&quot;"), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.matches('<').count() == 5);
    }
}
