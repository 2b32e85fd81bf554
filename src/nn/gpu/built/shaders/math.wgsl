// exp, ln and log1p with the polynomials of the CPU's kernels (`ops/vmath.rs`): the functions that a driver brings are as
// exact as it likes.

fn exp_of(v: f32) -> f32 {
    let x = clamp(v, -87.33654, 88.37626);
    let n = round(x * 1.4426950408889634);
    let r = x - n * 0.6933594 - n * -2.1219444e-4;
    let q = 0.49999993 + r * (0.16666521 + r * (0.041668387 + r * (0.008368712 + r * 0.0013814627)));
    return (1.0 + r + r * r * q) * bitcast<f32>(u32(i32(n) + 127) << 23u);
}

fn ln_1p_reduced(f: f32) -> f32 {
    let low = 0.33333314 + f * (-0.2500001 + f * (0.20002118 + f * (-0.16667996 + f * 0.14219553)));
    let high = -0.12405588 + f * (0.11888159 + f * (-0.11675655 + f * 0.06746651));
    let f2 = f * f;
    return f - (0.5 * f2 - f2 * f * (low + high * (f2 * f2 * f)));
}

// ln u, where t = u - 1 is known too.
fn ln_near_one(u: f32, t: f32) -> f32 {
    let bits = bitcast<i32>(u);
    let k = (bits - 0x3f3504f3) >> 23u;
    let m = bitcast<f32>(bits - (k << 23u));
    let f = select(m - 1.0, t, k == 0);
    return f32(k) * 0.6933594 + (ln_1p_reduced(f) + f32(k) * -2.1219444e-4);
}

fn ln_of(x: f32) -> f32 {
    return ln_near_one(x, x - 1.0);
}

fn sigmoid_of(x: f32) -> f32 {
    return 1.0 / (1.0 + exp_of(-x));
}

// ln(1 + e^x), and its derivative.
fn softplus_of(x: f32) -> vec2<f32> {
    let e = exp_of(-abs(x));
    return vec2<f32>(max(x, 0.0) + ln_near_one(1.0 + e, e), select(1.0, e, x < 0.0) / (1.0 + e));
}
