//! shadow(5) without the days on which locked passwords were changed: the days of the installation.

/// The place of the password among the fields of a line, and that of the day of the last change.
const PASSWORD: usize = 1;
const LAST_CHANGE: usize = 2;
const FIELDS: usize = 9;

/// Returns the file with the day of the last change empty in each line whose password begins as no hash does. A line that is no line
/// of shadow(5) stays.
pub(crate) fn without_locked_days(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(without_locked_day).collect()
}

fn without_locked_day(line: &[u8]) -> Vec<u8> {
    let mut fields: Vec<&[u8]> = line.splitn(FIELDS + 1, |byte| *byte == b':').collect();
    let is_locked = |password: &&[u8]| password.starts_with(b"!") || password.starts_with(b"*");
    if fields.len() == FIELDS && fields.get(PASSWORD).is_some_and(is_locked) {
        fields[LAST_CHANGE] = b"";
    }
    fields.join(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_of_a_locked_account_goes_and_that_of_another_stays() {
        let text = b"root:$6$a$b:19000:0:99999:7:::\nbin:*:19001:0:99999:7:::\nmockbuild:!!:20000:0:99999:7:::\n";
        let expected =
            b"root:$6$a$b:19000:0:99999:7:::\nbin:*::0:99999:7:::\nmockbuild:!!::0:99999:7:::\n";
        assert_eq!(without_locked_days(text), expected);
        assert_eq!(without_locked_days(expected), expected);
    }

    #[test]
    fn what_is_no_line_of_the_file_stays() {
        for text in [
            &b""[..],
            b"\n",
            b"root:*:1\n",
            b"a:!:1:2:3:4:5:6:7:8",
            b"bin:*",
        ] {
            assert_eq!(without_locked_days(text), text);
        }
        assert_eq!(without_locked_days(b"a:!:1::::::"), b"a:!:::::::");
    }
}
