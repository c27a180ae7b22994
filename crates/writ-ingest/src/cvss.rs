//! CVSS base scores in tenths: read from numbers, computed from version 3 vectors.
//! Specification: <https://www.first.org/cvss/v3.1/specification-document>. Vectors of versions 2 and 4 are
//! not computed; their reports state the score beside them.

/// `9.8` or `"9.8"` in tenths; `None` outside 0 to 10.
pub fn tenths(number: &str) -> Option<u16> {
    let number = number.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u16 = whole.parse().ok()?;
    let fraction = fraction.as_bytes();
    let tenth = match fraction.first()? {
        digit @ b'0'..=b'9' => u16::from(digit - b'0'),
        _ => return None,
    };
    let score = whole.checked_mul(10)?.checked_add(tenth)?;
    (score <= 100).then_some(score)
}

/// Base score of a `CVSS:3.0` or `CVSS:3.1` vector.
pub fn from_vector(vector: &str) -> Option<u16> {
    let metrics = vector
        .strip_prefix("CVSS:3.1/")
        .or_else(|| vector.strip_prefix("CVSS:3.0/"))?;
    let metric = |name: &str| {
        metrics
            .split('/')
            .filter_map(|part| part.split_once(':'))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let changed = match metric("S")? {
        "C" => true,
        "U" => false,
        _ => return None,
    };
    let attack = match metric("AV")? {
        "N" => 0.85,
        "A" => 0.62,
        "L" => 0.55,
        "P" => 0.2,
        _ => return None,
    };
    let complexity = match metric("AC")? {
        "L" => 0.77,
        "H" => 0.44,
        _ => return None,
    };
    let privileges = match (metric("PR")?, changed) {
        ("N", _) => 0.85,
        ("L", false) => 0.62,
        ("L", true) => 0.68,
        ("H", false) => 0.27,
        ("H", true) => 0.5,
        _ => return None,
    };
    let interaction = match metric("UI")? {
        "N" => 0.85,
        "R" => 0.62,
        _ => return None,
    };
    let impact = |name| {
        Some(match metric(name)? {
            "H" => 0.56,
            "L" => 0.22,
            "N" => 0.0,
            _ => return None,
        })
    };
    let (c, i, a): (f64, f64, f64) = (impact("C")?, impact("I")?, impact("A")?);
    let sub = 1.0 - (1.0 - c) * (1.0 - i) * (1.0 - a);
    let impact = if changed {
        7.52 * (sub - 0.029) - 3.25 * (sub - 0.02_f64).powi(15)
    } else {
        6.42 * sub
    };
    if impact <= 0.0 {
        return Some(0);
    }
    let exploitability = 8.22 * attack * complexity * privileges * interaction;
    let factor = if changed { 1.08 } else { 1.0 };
    Some(round_up((factor * (impact + exploitability)).min(10.0)))
}

/// The specification's Roundup in tenths, on integers to avoid floating point surprises.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 1,000,000"
)]
fn round_up(score: f64) -> u16 {
    let parts = (score * 100_000.0).round() as u32;
    parts.div_ceil(10_000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_scores_are_reached() {
        for (vector, score) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 98),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 100),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 61),
            ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H", 55),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:N/A:N", 0),
        ] {
            assert_eq!(from_vector(vector), Some(score), "{vector}");
        }
        assert_eq!(from_vector("AV:N/AC:L/Au:N/C:P/I:P/A:P"), None);
    }

    #[test]
    fn numbers_are_read_as_tenths() {
        assert_eq!(tenths("9.8"), Some(98));
        assert_eq!(tenths("10"), Some(100));
        assert_eq!(tenths("7.25"), Some(72));
        for bad in ["", "11", "-1", "x", "10.1"] {
            assert_eq!(tenths(bad), None, "{bad}");
        }
    }
}
