use super::*;

fn text(value: &str) -> Value {
    value.to_owned().into()
}

#[test]
fn a_text_is_cut_between_characters() {
    for (max, expected) in [(0, ""), (1, "é"), (2, "é🔔"), (3, "é🔔x"), (4, "é🔔x")] {
        let mut value = text("é🔔x");
        cut(&mut value, max);
        assert_eq!(value, text(expected));
    }
    let mut value = text(&"é".repeat(MAX_VALUE));
    cut(&mut value, usize::MAX);
    assert_eq!(value.as_str().len(), MAX_VALUE + '…'.len_utf8());
}
