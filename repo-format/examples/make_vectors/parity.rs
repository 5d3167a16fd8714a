//! The parity of a pack, from SPEC.md section 11 and nothing else.

const POLYNOMIAL: u32 = 0x1002d;
const BASIS: [u16; 16] = [
    0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900, 0xfdb8, 0xfb34,
    0xff38, 0x991e,
];

/// The element that a word stands for.
fn element(word: u16) -> u16 {
    (0_u32..).zip(BASIS).filter(|(bit, _)| word >> bit & 1 == 1).fold(0, |sum, (_, vector)| sum ^ vector)
}

/// The product of two elements.
fn product(one: u16, other: u16) -> u16 {
    let sum = (0..16).filter(|bit| other >> bit & 1 == 1).fold(0, |sum, bit| sum ^ u32::from(one) << bit);
    let reduced =
        (16..32).rev().fold(sum, |sum, bit| if sum >> bit & 1 == 1 { sum ^ POLYNOMIAL << (bit - 16) } else { sum });
    u16::try_from(reduced).unwrap_or_default()
}

fn inverse(of: u16) -> u16 {
    // Its power 2^16 - 2.
    (1..16)
        .scan(of, |square, _| {
            *square = product(*square, *square);
            Some(*square)
        })
        .fold(1, product)
}

/// L_j(y), as an element.
fn coefficient(j: u16, y: u16, m: u16) -> u16 {
    let factor = |v: u16| product(element(y ^ v), inverse(element(j ^ v)));
    (0..m).filter(|v| *v != j).map(factor).fold(1, product)
}

/// `count` parity shards of the shards in `data`.
pub fn shards(data: &[u8], shard_bytes: usize, count: usize) -> Vec<u8> {
    let elements: Vec<u16> = (0..=u16::MAX).map(element).collect();
    // The word that stands for an element.
    let mut back = vec![0_u16; 1 << 16];
    for (word, element) in (0..=u16::MAX).zip(&elements) {
        if let Some(place) = back.get_mut(usize::from(*element)) {
            *place = word;
        }
    }
    let m = u16::try_from(count.next_power_of_two()).unwrap_or_default();
    let mut out = vec![0; count * shard_bytes];
    for (j, parity) in (0_u16..).zip(out.chunks_mut(shard_bytes)) {
        for (k, shard) in (0_u16..).zip(data.chunks(shard_bytes)) {
            let factor = coefficient(j, m + k, m);
            for (sum, block) in parity.chunks_mut(64).zip(shard.chunks(64)) {
                let (low, high) = block.split_at(32);
                let (sum_low, sum_high) = sum.split_at_mut(32);
                for ((low, high), (sum_low, sum_high)) in low.iter().zip(high).zip(sum_low.iter_mut().zip(sum_high)) {
                    let of = elements.get(usize::from(u16::from_le_bytes([*low, *high]))).copied().unwrap_or_default();
                    let [low, high] =
                        back.get(usize::from(product(of, factor))).copied().unwrap_or_default().to_le_bytes();
                    (*sum_low, *sum_high) = (*sum_low ^ low, *sum_high ^ high);
                }
            }
        }
    }
    out
}
