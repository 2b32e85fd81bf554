//! Models on the held-out conditions: the ratio of their errors to a reference's (the figure of const-ae, with a line at 1),
//! every condition alone (which are hard, and for whom), and groups of conditions (how much of each was seen in training).

use super::{
    Figure, ModelValues,
    axis::{Axis, MARGIN, TITLE_HEIGHT, draw_title, number, range},
    canvas::{Anchor, Canvas, Font},
    legend::{Legend, Sample},
    models::{Rows, grey_sentence, is_better, legend_entries, look, median, names_width, quantile, sorted, words},
    style::{FAINT, GREY, GUIDE, INK, LABEL_SIZE, Mark, TICK_SIZE, WIDTH, shorten},
};
use crate::{
    Error, Result,
    bench::{Better, CEILING},
};

const RATIO_ROW_HEIGHT: f64 = 52.0;
/// Room at the right for the median.
const NUMBER_WIDTH: f64 = 96.0;
/// Half of the height over which points of a row spread.
const SPREAD: f64 = 13.0;
/// Points drawn in a row, at most; quantiles are of all.
const MOST_POINTS: usize = 80;
/// Ratios beyond this many times the reference are drawn at the edge: they must not press all others into one line.
const WIDEST: f64 = 3.0;
/// Conditions shown; of more, the first and the last half of this many.
const MOST_ROWS: usize = 80;
/// Rows up to which there is room for the full size of text.
const FEW_ROWS: usize = 20;
const ROW_HEIGHT: f64 = 34.0;
const TIGHT_ROW_HEIGHT: f64 = 27.0;
const TIGHT_TEXT: f64 = 20.0;
const GROUP_ROW_HEIGHT: f64 = 36.0;
const GAP: f64 = 26.0;
const HEAD: f64 = 68.0;

/// The distribution, one row per model, of `error / error of the reference` on the same condition, with a line at 1 (the
/// reference itself). Each row: the ratios as points, the middle half as a bar, the median as the model's mark and as
/// a number. Rows stand in the order of their medians, the best first. Ratios above 3 are drawn at the edge, and the
/// caption counts them. `reference` is the name of the model divided by; `error_label` what is divided, such as `L2`.
///
/// # Errors
/// No positive ratio at all.
pub fn l2_ratio<S: AsRef<str>>(
    title: &str,
    error_label: &str,
    reference: &str,
    models: &[ModelValues],
    highlight: &[S],
) -> Result<Figure> {
    let mut rows: Vec<(&str, Vec<f64>, f64)> = models
        .iter()
        .filter_map(|model| {
            let ratios = sorted(model.finite().filter(|ratio| *ratio >= 0.0));
            let middle = quantile(&ratios, 0.5)?;
            Some((model.model.as_str(), ratios, middle))
        })
        .collect();
    if rows.is_empty() {
        return Err(Error::data(format!("figure {title:?}: none of {} models has a ratio", models.len())));
    }
    rows.sort_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(b.0)));
    let label = format!("{error_label} ÷ {error_label} of {reference}, same condition (1 = as good, less is better)");
    let all = rows.iter().flat_map(|row| row.1.iter().copied());
    let (low, high) = range(all.chain([1.0])).unwrap_or((0.0, 1.0));
    let axis = Axis::linear(&label, [low, high.min(WIDEST)]);
    let span = Rows::span(names_width(rows.iter().map(|row| row.0)), NUMBER_WIDTH);
    let legend = Legend::new([
        (Sample::Point(GREY, Mark::Circle), "a condition".to_owned()),
        (Sample::Line(GUIDE, Mark::Diamond), "middle half, and median".to_owned()),
        (Sample::Dashed(INK), format!("as good as {reference}")),
    ]);
    let frame = Rows::new(axis, span, TITLE_HEIGHT + legend.height() + 30.0, rows.len(), RATIO_ROW_HEIGHT);
    let mut canvas = Canvas::new(frame.figure_height());
    let mut beyond = 0;
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        let edge = frame.right + NUMBER_WIDTH - 6.0;
        pen.text("median", (edge, frame.top - 14.0), Font::new(TICK_SIZE, GUIDE, Anchor::End));
        for (i, (name, ratios, middle)) in rows.iter().enumerate() {
            let (y, look) = (frame.y(i), look(name, highlight));
            frame.name(pen, i, name, Font { bold: look.highlighted, ..Font::new(TICK_SIZE, INK, Anchor::End) });
            pen.line((frame.left, y), (frame.right, y), FAINT, 1);
            let every = ratios.len().div_ceil(MOST_POINTS).max(1);
            for (k, &ratio) in ratios.iter().step_by(every).enumerate() {
                // The golden ratio's multiples spread neighbours evenly, and the same every time.
                let up = ((k as f64 * 0.618_034).fract() - 0.5) * 2.0 * SPREAD;
                pen.mark(Mark::Circle, (frame.across(ratio), y + up), 4.5, look.color, 0.45);
            }
            beyond += ratios.iter().filter(|ratio| **ratio > WIDEST).count();
            let quartile = |q| frame.across(quantile(ratios, q).unwrap_or(*middle));
            pen.line((quartile(0.25), y), (quartile(0.75), y), if look.highlighted { look.color } else { GUIDE }, 6);
            let (color, mark) = if look.highlighted { (look.color, look.mark) } else { (GUIDE, Mark::Diamond) };
            pen.mark(mark, (frame.across(*middle), y), 10.0, color, 1.0);
            pen.text(&format!("{middle:.2}"), (edge, y), Font::new(TICK_SIZE, INK, Anchor::End));
        }
        pen.dashed((frame.across(1.0), frame.top), (frame.across(1.0), frame.bottom), INK, 2);
    });
    let mut caption = ratio_caption(reference, &rows);
    if beyond > 0 {
        caption += &format!(" {beyond} ratios above {WIDEST} are drawn at the edge.");
    }
    Ok(Figure::new(title, caption, canvas))
}

/// How many models are better than the reference, and which is best. `rows` are names, sorted ratios and medians, the lowest
/// median first. The noise ceiling is no model: it is not counted.
fn ratio_caption(reference: &str, rows: &[(&str, Vec<f64>, f64)]) -> String {
    let models: Vec<_> = rows.iter().filter(|row| row.0 != CEILING).collect();
    let others = models.iter().filter(|row| row.0 != reference).count();
    let better = models.iter().filter(|row| row.0 != reference && row.2 < 1.0).count();
    let counted = format!("The median ratio to {reference} is below 1 for {better} of {others} models. ");
    let Some((best, ratios, median)) = models.first() else { return counted };
    if *best == reference {
        return counted
            + &format!("No other is nearer to the truth on more than half of the {} conditions.", ratios.len());
    }
    let below = ratios.iter().filter(|ratio| **ratio < 1.0).count();
    counted + &format!("Lowest: {best} at {median:.3}, below 1 on {below} of {} conditions.", ratios.len())
}

/// One row per condition with one mark per model, the hardest first: the one whose median over the models is worst. Models
/// named in `highlight` have a colour and a mark (at most seven), the others are grey. Of more than 80 conditions the 40
/// hardest and the 40 easiest are shown. `value_label` carries the unit.
///
/// # Errors
/// Values that do not fit the conditions in number; no value at all.
pub fn condition_dots<C: AsRef<str>, S: AsRef<str>>(
    title: &str,
    value_label: &str,
    better: Better,
    conditions: &[C],
    models: &[ModelValues],
    highlight: &[S],
) -> Result<Figure> {
    if let Some(model) = models.iter().find(|model| model.values.len() != conditions.len()) {
        let what = format!("condition figure: values of {}, and conditions", model.model);
        return Err(Error::shape(&what, model.values.len(), conditions.len()));
    }
    let values_of = |row: usize| models.iter().filter_map(move |m| m.values[row].filter(|v| v.is_finite()));
    let mut rows: Vec<(usize, f64)> =
        (0..conditions.len()).filter_map(|row| median(values_of(row)).map(|middle| (row, middle))).collect();
    if rows.is_empty() {
        let n = models.len();
        return Err(Error::data(format!("figure {title:?}: none of {n} models has a value of any condition")));
    }
    rows.sort_by(|a, b| match better {
        Better::Lower => b.1.total_cmp(&a.1),
        Better::Higher => a.1.total_cmp(&b.1),
    });
    let (n, left_out) = (rows.len(), rows.len().saturating_sub(MOST_ROWS));
    let half = MOST_ROWS / 2;
    let shown: Vec<Option<usize>> = match left_out {
        0 => rows.iter().map(|row| Some(row.0)).collect(),
        _ => rows[..half]
            .iter()
            .map(Some)
            .chain([None])
            .chain(rows[n - half..].iter().map(Some))
            .map(|row| row.map(|r| r.0))
            .collect(),
    };

    let (row_height, text) = if n <= FEW_ROWS { (ROW_HEIGHT, TICK_SIZE) } else { (TIGHT_ROW_HEIGHT, TIGHT_TEXT) };
    let with_values = models.iter().filter(|model| model.finite().next().is_some());
    let names: Vec<&str> = with_values.map(|model| model.model.as_str()).collect();
    let legend = Legend::new(legend_entries(&names, highlight));
    let axis = Axis::linear(value_label, shown.iter().flatten().flat_map(|&row| values_of(row)));
    let span = Rows::span(names_width(shown.iter().flatten().map(|&row| conditions[row].as_ref())), 10.0);
    let frame = Rows::new(axis, span, TITLE_HEIGHT + legend.height() + 8.0, shown.len(), row_height);
    let mut canvas = Canvas::new(frame.figure_height());
    canvas.draw(|pen| {
        draw_title(pen, title);
        legend.draw(pen, TITLE_HEIGHT);
        frame.draw(pen);
        for (i, row) in shown.iter().enumerate() {
            let y = frame.y(i);
            let Some(row) = *row else {
                frame.name(pen, i, &format!("… {left_out} between …"), Font::new(text, GUIDE, Anchor::End));
                continue;
            };
            frame.name(pen, i, conditions[row].as_ref(), Font::new(text, INK, Anchor::End));
            // The line leads the eye from the name through its marks.
            pen.line((frame.left, y), (frame.right, y), FAINT, 1);
            let mut marks: Vec<_> = models
                .iter()
                .filter_map(|model| Some((look(&model.model, highlight), model.values[row].filter(|v| v.is_finite())?)))
                .collect();
            marks.sort_by_key(|(look, _)| look.highlighted);
            for (look, value) in marks {
                let (r, opacity) = if look.highlighted { (7.5, 1.0) } else { (6.0, 0.8) };
                pen.mark(look.mark, (frame.across(value), y), r, look.color, opacity);
            }
        }
    });
    let spread = range(rows.iter().map(|row| row.1)).map_or(1.0, |(low, high)| (high - low).max(high.abs() * 0.01));
    let text = |value: f64| number(value, (spread / 100.0).max(1e-6));
    let (hardest, easiest) = (rows[0], rows[n - 1]);
    let caption = match n {
        1 => format!("{value_label}, {}, 1 condition: median over the models {}.", words(better), text(hardest.1)),
        _ => format!(
            "{value_label}, {}, {n} conditions, the hardest first. Median over the models: {} for {}, {} for {}.",
            words(better),
            text(hardest.1),
            conditions[hardest.0].as_ref(),
            text(easiest.1),
            conditions[easiest.0].as_ref()
        ),
    };
    Ok(Figure::new(title, caption + &grey_sentence(&names, highlight), canvas))
}

/// A panel a group and a row a model, with the mean of the model's conditions in that group; all panels have the same
/// axis. `groups` are names with the number of conditions in each; `models` have one value per group. Rows stand in the order
/// given. `value_label` carries the unit.
///
/// # Errors
/// Values that do not fit the groups in number; no value at all.
pub fn group_panels<G: AsRef<str>, S: AsRef<str>>(
    title: &str,
    value_label: &str,
    better: Better,
    groups: &[(G, usize)],
    models: &[ModelValues],
    highlight: &[S],
) -> Result<Figure> {
    if let Some(model) = models.iter().find(|model| model.values.len() != groups.len()) {
        return Err(Error::shape(
            &format!("group figure: values of {}, and groups", model.model),
            model.values.len(),
            groups.len(),
        ));
    }
    if models.iter().all(|model| model.finite().next().is_none()) {
        return Err(Error::data(format!("figure {title:?}: none of {} models has a value of any group", models.len())));
    }
    let (left, right) = Rows::span(names_width(models.iter().map(|model| model.model.as_str())), 8.0);
    let n = groups.len() as f64;
    let width = (right - left - GAP * (n - 1.0)) / n;
    let frame_of = |group: usize| {
        let mut axis = Axis::linear("", models.iter().flat_map(ModelValues::finite));
        // A narrow panel has room for few numbers.
        let every = (axis.ticks.len() as f64 * 70.0 / width).ceil().max(1.0);
        if let [first, second, ..] = axis.ticks.as_slice() {
            let step = second.0 - first.0;
            axis.ticks.retain(|(value, _)| ((value / step).round() % every).abs() < 0.5);
        }
        let x = left + group as f64 * (width + GAP);
        Rows::new(axis, (x, x + width), TITLE_HEIGHT + HEAD, models.len(), GROUP_ROW_HEIGHT)
    };
    let height = frame_of(0).figure_height();
    let mut canvas = Canvas::new(height);
    canvas.draw(|pen| {
        draw_title(pen, title);
        for (g, (group, size)) in groups.iter().enumerate() {
            let frame = frame_of(g);
            frame.draw(pen);
            let middle = (frame.left + frame.right) / 2.0;
            let head = shorten(group.as_ref(), TICK_SIZE, width + GAP - 6.0);
            pen.text(&head, (middle, frame.top - 46.0), Font::new(TICK_SIZE, INK, Anchor::Middle));
            let size = format!("n = {size}");
            pen.text(&size, (middle, frame.top - 18.0), Font::new(TICK_SIZE, GUIDE, Anchor::Middle));
            for (row, model) in models.iter().enumerate() {
                let (y, look) = (frame.y(row), look(&model.model, highlight));
                pen.line((frame.left, y), (frame.right, y), FAINT, 1);
                if g == 0 {
                    let font = Font { bold: look.highlighted, ..Font::new(TICK_SIZE, INK, Anchor::End) };
                    frame.name(pen, row, &model.model, font);
                }
                if let Some(value) = model.values[g].filter(|value| value.is_finite()) {
                    let (color, mark) = if look.highlighted { (look.color, look.mark) } else { (GUIDE, Mark::Circle) };
                    pen.mark(mark, (frame.across(value), y), 8.5, color, 1.0);
                }
            }
        }
        let label = shorten(value_label, LABEL_SIZE, f64::from(WIDTH) - 2.0 * MARGIN);
        let at = ((left + right) / 2.0, height - MARGIN - 0.6 * LABEL_SIZE);
        pen.text(&label, at, Font::new(LABEL_SIZE, INK, Anchor::Middle));
    });
    let best: Vec<String> = groups
        .iter()
        .enumerate()
        .filter_map(|(g, (group, _))| {
            let values = models.iter().filter_map(|m| Some((m.model.as_str(), m.values[g].filter(|v| v.is_finite())?)));
            let (model, value) = values.reduce(|a, b| if is_better(better, b.1, a.1) { b } else { a })?;
            Some(format!("{model} in {} ({})", group.as_ref(), number(value, value.abs().max(1e-6) / 500.0)))
        })
        .collect();
    let caption = format!("Mean {value_label} by group, {}. Best: {}.", words(better), best.join(", "));
    Ok(Figure::new(title, caption, canvas))
}
