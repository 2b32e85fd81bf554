// The negative log-likelihood of each cell: all genes as if their count were 0, then the difference for those seen.

@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> log_theta: array<f32>;
@group(0) @binding(3) var<storage, read> zero_logits: array<f32>;
@group(0) @binding(4) var<storage, read> cells: array<Cell>;
@group(0) @binding(5) var<storage, read> entries: array<vec2<u32>>;
@group(0) @binding(6) var<storage, read_write> nll: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let genes = whole(1u);
    let is_inflated = whole(3u) == 1u;
    let number = place(group, groups);
    let is_cell = number < whole(0u);
    // A workgroup beyond the last cell does that cell again: no thread may leave before a barrier.
    let cell = cells[min(number, whole(0u) - 1u)];
    let row = min(number, whole(0u) - 1u) * genes;
    let theta_row = select(0u, row, whole(2u) == 1u);
    let softmax = softmax_of(thread, row, genes, cell.library_size);
    var sum = 0.0;
    for (var g = thread; g < genes; g += 64u) {
        let mu = exp_of(logits[row + g] - softmax.top) * softmax.factor;
        let theta = exp_of(clamped(log_theta[theta_row + g]));
        var z = 0.0;
        if is_inflated {
            z = zero_logits[row + g];
        }
        sum += zero_count(mu, theta, is_inflated, z).x;
    }
    for (var at = cell.first + thread; at < cell.end; at += 64u) {
        let g = entries[at].x;
        let count = bitcast<f32>(entries[at].y);
        if count != 0.0 {
            let mu = exp_of(logits[row + g] - softmax.top) * softmax.factor;
            let l = clamped(log_theta[theta_row + g]);
            var z = 0.0;
            if is_inflated {
                z = zero_logits[row + g];
            }
            let seen = positive_count(count, mu, logits[row + g] + softmax.log_scale, l, is_inflated, z);
            sum += seen.x - zero_count(mu, exp_of(l), is_inflated, z).x;
        }
    }
    sum = sum_of_group(thread, sum);
    if thread == 0u && is_cell {
        nll[number] = sum;
    }
}
