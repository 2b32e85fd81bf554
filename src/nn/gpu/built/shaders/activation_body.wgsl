const SILU = 0u;
const GELU = 1u;

// f(x) and f'(x); the formulas of `ops/activation.rs`.
fn activate(kind: u32, x: f32) -> vec2<f32> {
    if kind == SILU {
        let gate = sigmoid_of(x);
        return vec2<f32>(x * gate, gate * (1.0 + x * (1.0 - gate)));
    }
    if kind == GELU {
        let bell = exp_of(-0.5 * x * x);
        let t = 1.0 / (1.0 + 0.3275911 * 0.70710678 * abs(x));
        let series = t * (0.2548296 + t * (-0.28449674 + t * (1.4214137 + t * (-1.453152 + t * 1.0614054))));
        let tail = 0.5 * bell * series;
        let cumulative = select(1.0 - tail, tail, x < 0.0);
        return vec2<f32>(x * cumulative, cumulative + x * bell * 0.3989423);
    }
    return select(vec2<f32>(x, 1.0), vec2<f32>(0.0, 0.0), x <= 0.0);
}
