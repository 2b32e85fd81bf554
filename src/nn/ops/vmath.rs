//! `exp`, `ln` and `log1p` of f32 without branches, so that a loop over a slice becomes SIMD code.
//!
//! Polynomials are minimax fits (Remez exchange) of the relative error on the reduced interval, about 1 ulp in f32.
//! They use no fused multiply-add: each operation rounds the same way on every instruction set, so results do not
//! depend on the machine. NaN stays NaN, so that a broken loss is seen. Call them inside `dispatch!`.

/// Lanes of a partial sum: one AVX-512 register. Sums run over this many lanes on every machine, so that they round
/// alike.
pub const LANES: usize = 16;

/// 1.5 * 2^23: adding it rounds to an integer and leaves that integer in the low bits of the mantissa.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has 9 significant bits, so that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Where `exp` leaves the normal numbers of f32; beyond, the argument is clamped.
const EXP_MIN: f32 = -87.336_54;
const EXP_MAX: f32 = 88.376_26;

/// `e^x`; the argument is clamped to [-87.34, 88.38], where f32 is normal.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // x = n ln 2 + r with |r| <= ln 2 / 2
    let x = x.clamp(EXP_MIN, EXP_MAX);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let q = 0.499_999_93 + r * (0.166_665_21 + r * (0.041_668_387 + r * (0.008_368_712 + r * 0.001_381_462_7)));
    let two_to_n = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    (1.0 + r + r * r * q) * two_to_n
}

/// `ln(1 + f)` for f in [sqrt(1/2) - 1, sqrt(2) - 1].
#[inline(always)]
fn ln_1p_reduced(f: f32) -> f32 {
    let low = 0.333_333_14 + f * (-0.250_000_1 + f * (0.200_021_18 + f * (-0.166_679_96 + f * 0.142_195_53)));
    let high = -0.124_055_88 + f * (0.118_881_59 + f * (-0.116_756_55 + f * 0.067_466_51));
    let f2 = f * f;
    let q = low + high * (f2 * f2 * f);
    f - (0.5 * f2 - f2 * f * q)
}

/// Splits x = m 2^k with m in [sqrt(1/2), sqrt(2)).
#[inline(always)]
fn split(x: f32) -> (f32, f32) {
    let bits = x.to_bits() as i32;
    let k = bits.wrapping_sub(0x3f35_04f3) >> 23;
    (f32::from_bits(bits.wrapping_sub(k << 23) as u32), k as f32)
}

/// `ln x` for a normal x > 0; infinity and NaN are passed on.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let (m, k) = split(x);
    let y = k * LN2_HIGH + (ln_1p_reduced(m - 1.0) + k * LN2_LOW);
    if x < f32::INFINITY { y } else { x }
}

/// `ln(1 + t)` for t > -1, accurate for small t.
#[inline(always)]
pub fn log1p(t: f32) -> f32 {
    ln_near_one(1.0 + t, t)
}

/// `ln u` for a u > 0 of which `t = u - 1` is known too: where u needs no scaling, t, which is exact near u = 1, enters
/// the polynomial.
#[inline(always)]
pub fn ln_near_one(u: f32, t: f32) -> f32 {
    let (m, k) = split(u);
    let f = if k == 0.0 { t } else { m - 1.0 };
    let y = k * LN2_HIGH + (ln_1p_reduced(f) + k * LN2_LOW);
    if u < f32::INFINITY { y } else { u }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `ln(1 + e^x)`, and its derivative `sigmoid(x)`, from one exponential.
#[inline(always)]
pub fn softplus(x: f32) -> (f32, f32) {
    let e = exp(-x.abs());
    (x.max(0.0) + log1p(e), if x < 0.0 { e } else { 1.0 } / (1.0 + e))
}

/// Sum in [`LANES`] interleaved partial sums, in f64: the same for any vector width.
#[inline(always)]
pub fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(value);
    }
    lanes.iter().sum()
}

/// Largest value; negative infinity of an empty slice. NaN is passed over.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}
