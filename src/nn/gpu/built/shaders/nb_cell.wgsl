// What the passes of the count likelihood share: their inputs and the terms of one gene of one cell. One workgroup per
// cell. `whole`: cells, genes, 1 if theta is per cell, 1 if zeros are inflated, 1 if there is a remainder class.

struct Cell {
    first: u32, // its entries: first .. end
    end: u32,
    library_size: f32,
    d_nll: f32,
}

// The softmax of a cell: mu = e^(l - top) factor, ln mu = l + log_scale.
struct Softmax {
    top: f32,
    factor: f32,
    log_scale: f32,
}

// Value, by ln mu, by ln theta, by the zero logit.
fn zero_count(mu: f32, theta: f32, is_inflated: bool, z: f32) -> vec4<f32> {
    let nb = nb_zero(mu, theta);
    if !is_inflated {
        return vec4<f32>(nb, 0.0);
    }
    let either = softplus_of(-z);
    let both = softplus_of(-z - nb.x);
    return vec4<f32>(either.x - both.x, nb.y * both.y, nb.z * both.y, both.y - either.y);
}

fn positive_count(x: f32, mu: f32, log_mu: f32, log_theta: f32, is_inflated: bool, z: f32) -> vec4<f32> {
    let nb = nb_positive(x, mu, log_mu, exp_of(log_theta), log_theta);
    if !is_inflated {
        return vec4<f32>(nb, 0.0);
    }
    let no_extra_zero = softplus_of(z);
    return vec4<f32>(nb.x + no_extra_zero.x, nb.y, nb.z, no_extra_zero.y);
}

fn clamped(log_theta: f32) -> f32 {
    return clamp(log_theta, LOG_THETA_MIN, LOG_THETA_MAX);
}

fn softmax_of(thread: u32, row: u32, genes: u32, library_size: f32) -> Softmax {
    let has_remainder = whole(4u) == 1u;
    var top = -3.4e38;
    for (var g = thread; g < genes; g += 64u) {
        top = max(top, logits[row + g]);
    }
    top = max_of_group(thread, top);
    if has_remainder {
        top = max(top, 0.0);
    }
    var total = 0.0;
    for (var g = thread; g < genes; g += 64u) {
        total += exp_of(logits[row + g] - top);
    }
    total = sum_of_group(thread, total);
    if has_remainder {
        total += exp_of(-top);
    }
    return Softmax(top, library_size / total, ln_of(library_size) - ln_of(total) - top);
}
