// The gradients of a cell's logits, log theta and zero logits, times the incoming gradient of its likelihood: all genes
// as if their count were 0, those seen over that, and then d / d l = d - rho sum(d).

@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> log_theta: array<f32>;
@group(0) @binding(3) var<storage, read> zero_logits: array<f32>;
@group(0) @binding(4) var<storage, read> cells: array<Cell>;
@group(0) @binding(5) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> d_logits: array<f32>;
@group(0) @binding(7) var<storage, read_write> d_theta: array<f32>; // (cells, genes) in every case
@group(0) @binding(8) var<storage, read_write> d_zero: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let is_inflated = whole(3u) == 1u;
    let number = place(group, groups);
    let last = min(number, whole(0u) - 1u);
    let cell = cells[last];
    let row = last * whole(1u);
    let theta_row = select(0u, row, whole(2u) == 1u);
    let softmax = softmax_of(thread, row, whole(1u), cell.library_size);
    // A workgroup beyond the last cell writes nothing, but reaches every barrier.
    let genes = select(0u, whole(1u), number < whole(0u));
    let end = select(cell.first, cell.end, number < whole(0u));
    for (var g = thread; g < genes; g += 64u) {
        let mu = exp_of(logits[row + g] - softmax.top) * softmax.factor;
        let raw = log_theta[theta_row + g];
        var z = 0.0;
        if is_inflated {
            z = zero_logits[row + g];
        }
        let d = zero_count(mu, exp_of(clamped(raw)), is_inflated, z);
        d_logits[row + g] = d.y;
        d_theta[row + g] = select(0.0, d.z * cell.d_nll, raw >= LOG_THETA_MIN && raw <= LOG_THETA_MAX);
        if is_inflated {
            d_zero[row + g] = d.w * cell.d_nll;
        }
    }
    storageBarrier();
    workgroupBarrier();
    for (var at = cell.first + thread; at < end; at += 64u) {
        let g = entries[at].x;
        let count = bitcast<f32>(entries[at].y);
        if count != 0.0 {
            let mu = exp_of(logits[row + g] - softmax.top) * softmax.factor;
            let raw = log_theta[theta_row + g];
            var z = 0.0;
            if is_inflated {
                z = zero_logits[row + g];
            }
            let log_mu = logits[row + g] + softmax.log_scale;
            let d = positive_count(count, mu, log_mu, clamped(raw), is_inflated, z);
            d_logits[row + g] = d.y;
            d_theta[row + g] = select(0.0, d.z * cell.d_nll, raw >= LOG_THETA_MIN && raw <= LOG_THETA_MAX);
            if is_inflated {
                d_zero[row + g] = d.w * cell.d_nll;
            }
        }
    }
    storageBarrier();
    workgroupBarrier();
    var sum = 0.0;
    for (var g = thread; g < genes; g += 64u) {
        sum += d_logits[row + g];
    }
    let total = sum_of_group(thread, sum) / cell.library_size;
    for (var g = thread; g < genes; g += 64u) {
        let mu = exp_of(logits[row + g] - softmax.top) * softmax.factor;
        d_logits[row + g] = (d_logits[row + g] - mu * total) * cell.d_nll;
    }
}
