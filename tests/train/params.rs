use super::model::Line;
use genailab::{
    ErrorKind,
    dfdx::prelude::Cpu,
    nn::{check_finite, copy_params, count_params, tensors},
};

#[test]
fn the_walk_names_and_counts_tensors() {
    let line = Line::new(&Cpu::default());
    assert_eq!(count_params(&line).unwrap(), 6 * 2 + 2);
    let list: Vec<_> = tensors(&line).unwrap().into_iter().map(|t| (t.name, t.shape, t.trained)).collect();
    let expected = [("weight", vec![6, 2], true), ("bias", vec![2], true), ("seen", vec![1], false)]
        .map(|(n, s, t)| (n.to_owned(), s, t));
    assert_eq!(list, expected);
}

#[test]
fn a_tensor_that_is_not_finite_is_named() {
    let mut line = Line::new(&Cpu::default());
    check_finite(&line).unwrap();
    line.bias.copy_from(&[0.0, f32::NAN]);
    let error = check_finite(&line).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Numeric);
    assert_eq!(error.to_string(), "`bias` of shape [2] holds NaN at element 1");
}

#[test]
fn copies_are_whole_and_independent() {
    let device = Cpu::default();
    let mut from = Line::new(&device);
    from.bias.copy_from(&[1.0, 2.0]);
    from.seen.copy_from(&[3.0]);
    let mut to = Line::new(&device);
    to.weight.fill_with_zeros();
    copy_params(&from, &mut to).unwrap();
    assert_eq!(to.snapshot(), from.snapshot());
    from.weight.fill_with_zeros();
    assert_ne!(to.snapshot(), from.snapshot());
    let error = copy_params(&Line::with_shape(&device, 3, 2), &mut to).unwrap_err().to_string();
    assert!(error.starts_with("the tensor `weight` has shape [3, 2], where the model has [6, 2]"), "{error}");
}
