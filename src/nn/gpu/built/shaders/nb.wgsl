// Negative log-likelihood of one count under the NB and the ZINB: value, by ln mu, by ln theta. The formulas and their
// sources are in `ops/nb.rs`.

fn curvature(t: f32, log1p_t: f32, fraction: f32) -> f32 {
    let series = t * t * (0.5 + t * (-2.0 / 3.0 + t * (0.75 + t * (-0.8 + t * (5.0 / 6.0)))));
    return select(log1p_t - fraction, series, abs(t) < 0.05);
}

fn nb_zero(mu: f32, theta: f32) -> vec3<f32> {
    let t = mu / theta;
    let log = ln_near_one(1.0 + t, t);
    let fraction = t / (1.0 + t);
    return vec3<f32>(theta * log, theta * fraction, theta * curvature(t, log, fraction));
}

fn binet(z: f32) -> f32 {
    let is_small = z < 4.0;
    let v = 1.0 / select(z, z + 4.0, is_small);
    let v2 = v * v;
    let series = v * (1.0 / 12.0 + v2 * (-1.0 / 360.0 + v2 * (1.0 / 1260.0 - v2 * (1.0 / 1680.0))));
    let small = min(z, 4.0);
    let up = small + 4.0;
    let product = (small + 1.0) * (small + 2.0) * (small + 3.0);
    let shift = (small + 3.5) * ln_of(up) - (small + 0.5) * ln_of(small) - 4.0 - ln_of(product);
    return series + select(0.0, shift, is_small);
}

fn digamma_rest(z: f32) -> f32 {
    let is_small = z < 4.0;
    let v = 1.0 / select(z, z + 4.0, is_small);
    let v2 = v * v;
    let series = v * -0.5
        + v2 * (-1.0 / 12.0 + v2 * (1.0 / 120.0 + v2 * (-1.0 / 252.0 + v2 * (1.0 / 240.0))));
    let small = min(z, 4.0);
    let q = small * (small + 3.0);
    let shift = ln_of((small + 4.0) / small) - (2.0 * small + 3.0) * (2.0 * q + 2.0) / (q * (q + 2.0));
    return series + select(0.0, shift, is_small);
}

fn nb_positive(x: f32, mu: f32, log_mu: f32, theta: f32, log_theta: f32) -> vec3<f32> {
    let total = x + theta;
    let both = mu + theta;
    let t = (mu - x) / total;
    let log = ln_near_one(both / total, t);
    let fraction = (mu - x) / both;
    let ln_x = ln_of(x);
    let at_mode = binet(total) - binet(theta) - binet(x) - 0.9189385 - 0.5 * (ln_x + ln_of(total) - log_theta);
    return vec3<f32>(
        total * log + x * (ln_x - log_mu) - at_mode,
        theta * fraction,
        theta * (curvature(t, log, fraction) - (digamma_rest(total) - digamma_rest(theta))),
    );
}
