//! Positions in a cell. Jupyter counts characters (Unicode code points), Rust counts bytes.

/// The byte at which character `position` begins; the end of the text if it has fewer characters.
pub fn to_bytes(text: &str, position: usize) -> usize {
    text.char_indices().nth(position).map_or(text.len(), |(byte, _)| byte)
}

/// How many characters begin before byte `position`.
pub fn to_characters(text: &str, position: usize) -> usize {
    text.char_indices().take_while(|(byte, _)| *byte < position).count()
}

/// The end of the name that byte `position` is in or behind, so that a name is looked up as a whole.
pub fn end_of_name(text: &str, position: usize) -> usize {
    let rest = &text[position..];
    position + rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let text = "é∂x";
        for (character, byte) in [(0, 0), (1, 2), (2, 5), (3, 6)] {
            assert_eq!(to_bytes(text, character), byte);
            assert_eq!(to_characters(text, byte), character);
        }
        assert_eq!(to_bytes(text, 99), text.len());
        assert_eq!(to_characters(text, 99), 3);
    }

    #[test]
    fn a_name_is_taken_whole() {
        assert_eq!(end_of_name("data.load(x)", 6), 9);
        assert_eq!(end_of_name("data", 4), 4);
    }
}
