//! Text forms.

use crate::model::{LimitScope, Prefix};

#[test]
fn places_read_as_they_print() {
    for text in ["default", "neighbours", "rest", "class/partners", "service/api", "total/api"] {
        assert_eq!(text.parse::<LimitScope>().unwrap().to_string(), text);
    }
    for text in ["", "Default", "class", "class/", "zone/x", "service/a b", "class/\u{1b}[31m"] {
        let error = text.parse::<LimitScope>().unwrap_err().to_string();
        assert!(error.contains("class/NAME"), "{error}");
    }
}

#[test]
fn prefixes_read_as_they_print() {
    for text in
        ["192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::7", "2001:db8::/48", "::/0", "::ffff:0:0/95"]
    {
        let Ok(prefix) = text.parse::<Prefix>() else {
            continue;
        };
        assert_eq!(prefix.to_string(), text);
    }
    assert_eq!("192.0.2.7/32".parse::<Prefix>().unwrap().to_string(), "192.0.2.7");
    assert_eq!("2001:DB8::0/128".parse::<Prefix>().unwrap().to_string(), "2001:db8::");
}

#[test]
fn host_bits_are_refused_with_what_would_be_right() {
    let error = "192.0.2.77/24".parse::<Prefix>().unwrap_err().to_string();
    assert!(error.contains("192.0.2.0/24") && error.contains("192.0.2.77 for the address"), "{error}");
    let error = "2001:db8::1/32".parse::<Prefix>().unwrap_err().to_string();
    assert!(error.contains("2001:db8::/32"), "{error}");
}

#[test]
fn what_is_no_prefix_is_refused() {
    for text in ["", "192.0.2", "192.0.2.0/33", "192.0.2.0/", "example.com", "2001:db8::/129", " 192.0.2.1"] {
        assert!(text.parse::<Prefix>().is_err(), "{text}");
    }
    let error = "::ffff:192.0.2.0/120".parse::<Prefix>().unwrap_err().to_string();
    assert!(error.ends_with("write 192.0.2.0/24"), "{error}");
}
