use super::model::Line;
use genailab::{
    dfdx::prelude::{Cpu, TensorFromVec},
    nn::{Ema, EmaMomentum, OptimStep, composed, ema_update},
};

#[test]
fn the_momentum_goes_to_one_on_half_a_cosine() {
    let cosine = EmaMomentum::default();
    assert_eq!((cosine.at(0, 100), cosine.at(100, 100)), (0.996, 1.0));
    assert!((cosine.at(50, 100) - 0.998).abs() < 1e-12);
    assert_eq!(cosine.at(7, 0), 0.996);
    assert_eq!(EmaMomentum::Constant { momentum: 0.9 }.at(5, 10), 0.9);
}

#[test]
fn an_average_follows_weights_and_copies_buffers() {
    let device = Cpu::default();
    let (mut student, mut teacher) = (Line::new(&device), Line::new(&device));
    teacher.bias.copy_from(&[1.0, 2.0]);
    student.bias.copy_from(&[3.0, -2.0]);
    student.seen.copy_from(&[7.0]);
    ema_update(&mut teacher, &student, 0.75).unwrap();
    assert_eq!(teacher.bias.as_vec(), [1.5, 1.0]);
    assert_eq!(teacher.seen.as_vec(), [7.0]);
    assert_eq!(student.bias.as_vec(), [3.0, -2.0]);
    let error = ema_update(&mut teacher, &Line::with_shape(&device, 3, 2), 0.5).unwrap_err().to_string();
    assert!(error.contains("no tensor `weight` of 12 elements"), "{error}");
}

#[test]
fn swapping_in_and_out_changes_nothing() {
    let device = Cpu::default();
    let mut model = Line::new(&device);
    let mut ema = Ema::new(&model).unwrap();
    let begin = model.snapshot();
    model.weight.copy_from(&[8.0; 12]);
    model.seen.copy_from(&[5.0]);
    ema.update(&model, 0.5).unwrap();
    let trained = model.snapshot();
    ema.swap(&mut model).unwrap();
    let averaged = model.snapshot();
    let expected: Vec<f32> = begin.tensors()["weight"].values.iter().map(|w| w * 0.5 + 4.0).collect();
    assert_eq!(averaged.tensors()["weight"].values, expected);
    assert_eq!(averaged.tensors()["seen"].values, [5.0]);
    assert_eq!(averaged.tensors()["weight"].shape, [6, 2]);
    ema.swap(&mut model).unwrap();
    assert_eq!(model.snapshot(), trained);
    // The average goes on from where it was, not from the weights.
    ema.update(&model, 1.0).unwrap();
    ema.swap(&mut model).unwrap();
    assert_eq!(model.snapshot(), averaged);
    assert!(Ema::new(&Line::with_shape(&device, 3, 2)).unwrap().swap(&mut model).is_err());
}

#[test]
fn the_fused_average_is_the_composed_one() {
    let device = Cpu::default();
    let values = |scale: f32| (0..100_003).map(|i| (i as f32 * scale).sin()).collect::<Vec<_>>();
    let value = device.tensor_from_vec(values(0.1), (100_003,));
    let mut fused = device.tensor_from_vec(values(0.3), (100_003,));
    let mut plain = device.tensor_from_vec(values(0.3), (100_003,));
    Cpu::blend(&mut fused, &value, 0.9).unwrap();
    composed::blend(&mut plain, &value, 0.9).unwrap();
    for (at, (fused, plain)) in fused.as_vec().iter().zip(plain.as_vec()).enumerate() {
        assert!((fused - plain).abs() < 1e-6, "element {at}: {fused}, {plain} expected");
    }
}
