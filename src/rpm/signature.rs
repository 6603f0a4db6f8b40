//! Which key has signed a package: the issuer that a signature names (RFC 9580, section 5.2). Nothing is verified.

/// Lengths of signature packets are far below.
const LONGEST_SIGNATURE: usize = 64 << 10;

mod subpacket {
    pub(super) const ISSUER_KEY_ID: u8 = 16;
    pub(super) const ISSUER_FINGERPRINT: u8 = 33;
}

const SIGNATURE_PACKET: u8 = 2;
const KEY_ID_BYTES: usize = 8;

/// Returns the key ID of the issuer of a signature packet; `None` for what is no signature, and for one without an issuer.
pub(super) fn issuer(packet: &[u8]) -> Option<[u8; KEY_ID_BYTES]> {
    if packet.len() > LONGEST_SIGNATURE {
        return None;
    }
    let body = body(packet)?;
    match body.first()? {
        // Version, length of the hashed part (5), type, time, key ID.
        3 => body.get(7..)?.first_chunk().copied(),
        // Version, type and two algorithms; then hashed and other subpackets, each after their length.
        4 => {
            let (hashed, rest) = counted(body.get(4..)?, 2)?;
            let (other, _) = counted(rest, 2)?;
            issuer_among(hashed).or_else(|| issuer_among(other))
        }
        6 => {
            let (hashed, rest) = counted(body.get(4..)?, 4)?;
            let (other, _) = counted(rest, 4)?;
            issuer_among(hashed).or_else(|| issuer_among(other))
        }
        _ => None,
    }
}

/// Returns the body of a signature packet (section 4.2).
fn body(packet: &[u8]) -> Option<&[u8]> {
    let (head, rest) = packet.split_first()?;
    let (kind, (length, rest)) = match head {
        0xc0.. => (head & 0x3f, new_length(rest)?),
        0x80.. => {
            let length_bytes = match head & 3 {
                0 => 1,
                1 => 2,
                2 => 4,
                _ => return None,
            };
            let (length, rest) = rest.split_at_checked(length_bytes)?;
            (head >> 2 & 0xf, (number(length), rest))
        }
        _ => return None,
    };
    (kind == SIGNATURE_PACKET).then(|| rest.get(..length))?
}

/// Reads a length of one, two or five bytes; partial lengths are none of signatures.
fn new_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    match first {
        0..=191 => Some((usize::from(*first), rest)),
        192..=223 => {
            let (second, rest) = rest.split_first()?;
            let length = ((usize::from(*first) - 192) << 8) + usize::from(*second) + 192;
            Some((length, rest))
        }
        255 => {
            let (length, rest) = rest.split_at_checked(4)?;
            Some((number(length), rest))
        }
        _ => None,
    }
}

/// Reads bytes after their length of `width` bytes, and returns them with the rest.
fn counted(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    rest.split_at_checked(number(length))
}

fn issuer_among(mut subpackets: &[u8]) -> Option<[u8; KEY_ID_BYTES]> {
    while !subpackets.is_empty() {
        let (length, rest) = new_length(subpackets)?;
        let (subpacket, rest) = rest.split_at_checked(length)?;
        subpackets = rest;
        let (kind, data) = subpacket.split_first()?;
        let found = match kind & 0x7f {
            subpacket::ISSUER_KEY_ID => data.first_chunk().copied(),
            subpacket::ISSUER_FINGERPRINT => key_id_of(data),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Returns the key ID of a fingerprint after the version of the key: of version 4 its end, of version 6 its beginning.
fn key_id_of(fingerprint: &[u8]) -> Option<[u8; KEY_ID_BYTES]> {
    match fingerprint.split_first()? {
        (4, fingerprint) => fingerprint.last_chunk().copied(),
        (_, fingerprint) => fingerprint.first_chunk().copied(),
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_ID: [u8; 8] = [0x19, 0x9e, 0x2f, 0x91, 0xfd, 0x43, 0x1d, 0x51];

    #[test]
    fn each_version_of_a_signature_names_its_key() {
        let of_3 = [&[0x88, 15, 3, 5, 0, 1, 2, 3, 4][..], &KEY_ID].concat();
        assert_eq!(issuer(&of_3), Some(KEY_ID));
        let of_4 = [
            &[0xc2, 21, 4, 0, 1, 8, 0, 3, 2, 2, 7, 0, 10, 9, 16][..],
            &KEY_ID,
        ]
        .concat();
        assert_eq!(issuer(&of_4), Some(KEY_ID));
        let fingerprint = [&[4][..], &[7; 12], &KEY_ID].concat();
        let hashed = [&[22, 33][..], &fingerprint].concat();
        let of_4 = [&[0x89, 0, 31, 4, 0, 1, 8, 0, 23][..], &hashed, &[0, 0]].concat();
        assert_eq!(issuer(&of_4), Some(KEY_ID));
        for end in 0..of_4.len() {
            assert_eq!(issuer(&of_4[..end]), None, "{end}");
        }
    }

    #[test]
    fn what_is_no_signature_names_none() {
        for packet in [
            &[][..],
            &[0x88],
            &[0x8b, 3],
            &[0xc2, 255, 255, 255, 255, 255, 4],
            &[0x98, 1, 3],
            &[0xc2, 5, 4, 0, 1, 8, 0],
        ] {
            assert_eq!(issuer(packet), None, "{packet:?}");
        }
    }
}
