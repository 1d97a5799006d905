//! The mix of pods that is expected, and how much of a node is of no use to it.

use std::collections::BTreeMap;

use crate::{Model, ModelNames, Room, Shape};

/// Share of all pods that typical shapes cover, in hundredths.
const TYPICAL_PERCENT: usize = 95;

/// Typical shapes with their probabilities, most frequent first.
#[derive(Clone, Debug, Default)]
pub struct Mix {
    shapes: Vec<Typical>,
    /// Different parts of a device that typical shapes ask for.
    parts: Vec<u16>,
}

#[derive(Clone, Debug)]
struct Typical {
    shape: Shape,
    share: f64,
    /// Index of `shape.milli` in [`Mix::parts`].
    part: usize,
}

/// Causes of fragmentation: CPU and devices lack, devices lack, CPU lacks; of CPU-only shapes: runs, CPU lacks; wrong model.
const CAUSES: usize = 6;
/// Greatest number of different parts; more are not told apart, the rest of the mix is left out.
const PARTS_MAX: usize = 128;

impl Mix {
    /// The classes of these pods (memory aside), most frequent first and the larger first among equals, until they cover
    /// 95 % of the pods; their shares add up to 1. So in "Beware of Fragmentation" (USENIX ATC 2023).
    pub fn typical(pods: impl IntoIterator<Item = Shape>, names: &ModelNames) -> Mix {
        Mix::covering(pods, names, TYPICAL_PERCENT)
    }

    /// The same with every class.
    pub fn complete(pods: impl IntoIterator<Item = Shape>, names: &ModelNames) -> Mix {
        Mix::covering(pods, names, 100)
    }

    fn covering(pods: impl IntoIterator<Item = Shape>, names: &ModelNames, percent: usize) -> Mix {
        let mut counts = BTreeMap::<Shape, usize>::new();
        let mut total = 0;
        for pod in pods {
            *counts.entry(pod.class()).or_default() += 1;
            total += 1;
        }
        let mut sorted: Vec<(Shape, usize)> = counts.into_iter().collect();
        let size = |s: &Shape| (s.cpu_milli, s.milli, s.devices, names.spelled(s.models));
        sorted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| size(&b.0).cmp(&size(&a.0))));
        let mut covered = 0;
        let enough = sorted.iter().take_while(|(_, count)| {
            let wanted = covered * 100 < total * percent;
            covered += if wanted { *count } else { 0 };
            wanted
        });
        let chosen: Vec<(Shape, usize)> = enough.copied().collect();
        // Two divisions, as published: one would round otherwise, and scores are cut to whole numbers.
        let of_all = |count: usize| count as f64 / total as f64;
        let share = |count: usize| of_all(count) / of_all(covered);
        Mix::weighed(chosen.into_iter().map(|(shape, count)| (shape, share(count))))
    }

    /// These shapes with these shares, in this order.
    pub fn weighed(shapes: impl IntoIterator<Item = (Shape, f64)>) -> Mix {
        let mut mix = Mix::default();
        for (shape, share) in shapes {
            let part = match mix.parts.iter().position(|p| *p == shape.milli) {
                Some(part) => part,
                None if mix.parts.len() == PARTS_MAX => continue,
                None => {
                    mix.parts.push(shape.milli);
                    mix.parts.len() - 1
                }
            };
            mix.shapes.push(Typical { shape, share, part });
        }
        mix
    }

    /// Number of shapes.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Shapes and their shares.
    pub fn iter(&self) -> impl Iterator<Item = (&Shape, f64)> {
        self.shapes.iter().map(|t| (&t.shape, t.share))
    }

    /// Fragmentation: thousandths of devices that the mix is expected to be unable to use here. Of a shape that cannot run
    /// here everything left counts; of one that can, what is left on devices too full for it.
    pub fn fragments(&self, room: &Room, model: Option<Model>) -> f64 {
        let left = room.left_total();
        if left == 0 {
            return 0.0;
        }
        let fits = self.fits(room);
        // One sum for each cause, added up at the end: another order would round otherwise.
        let mut sums = [0.0; CAUSES];
        for typical in &self.shapes {
            let (shape, (fitting, lost)) = (&typical.shape, fits[typical.part]);
            let lacks_cpu = shape.cpu_milli > room.cpu_milli;
            let lacks_devices = fitting < shape.devices;
            let (cause, amount) = if shape.milli == 0 {
                (if lacks_cpu { 4 } else { 3 }, left)
            } else if !shape.models.admit(model) {
                (5, left)
            } else {
                match (lacks_cpu, lacks_devices) {
                    (true, true) => (0, left),
                    (false, true) => (1, left),
                    (true, false) => (2, left),
                    (false, false) => (1, lost),
                }
            };
            sums[cause] += typical.share * amount as f64;
        }
        sums.iter().sum()
    }

    /// Waste: fragmentation with foresight about CPU. Of a shape that can run here, `starved` of what it could still take counts
    /// as well as far as the CPU that is left cannot feed it, were the node given to this shape alone. CPU-only shapes, which
    /// weigh on every node alike, are left out.
    pub fn waste(&self, room: &Room, model: Option<Model>, starved: f64) -> f64 {
        let left = room.left_total();
        if left == 0 {
            return 0.0;
        }
        let fits = self.fits(room);
        let mut sum = 0.0;
        for typical in self.shapes.iter().filter(|t| t.shape.devices > 0) {
            let (shape, (fitting, lost)) = (&typical.shape, fits[typical.part]);
            let runs =
                shape.cpu_milli <= room.cpu_milli && fitting >= shape.devices && shape.models.admit(model);
            let waste = if runs {
                let usable = (left - lost) as f64;
                let pods = room.cpu_milli as f64 / shape.cpu_milli.max(1) as f64;
                lost as f64 + starved * (usable - pods * shape.milli_total() as f64).max(0.0)
            } else {
                left as f64
            };
            sum += typical.share * waste;
        }
        sum
    }

    /// Per part: how many devices have it left, and how much lies on the others.
    fn fits(&self, room: &Room) -> [(u8, i64); PARTS_MAX] {
        let mut fits = [(0_u8, 0_i64); PARTS_MAX];
        for (part, fit) in self.parts.iter().zip(&mut fits) {
            for left in room.left() {
                if left >= part {
                    fit.0 += 1;
                } else {
                    fit.1 += i64::from(*left);
                }
            }
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceSet, Node};

    fn shape(cpu_milli: i64, devices: u8, milli: u16) -> Shape {
        Shape { cpu_milli, devices, milli, ..Shape::default() }
    }

    #[test]
    fn rare_shapes_are_left_out_and_the_rest_adds_up_to_one() {
        let mut pods = vec![shape(1000, 1, 500); 60];
        pods.extend(vec![shape(2000, 1, 1000); 36]);
        pods.extend([shape(3000, 0, 0), shape(4000, 0, 0), shape(5000, 0, 0), shape(6000, 8, 1000)]);
        let mix = Mix::typical(pods.iter().copied(), &ModelNames::default());
        assert_eq!(mix.iter().map(|(s, _)| s.cpu_milli).collect::<Vec<_>>(), [1000, 2000]);
        assert!((mix.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(Mix::complete(pods, &ModelNames::default()).len(), 6);
    }

    #[test]
    fn among_equally_frequent_shapes_the_larger_comes_first() {
        let pods = [shape(1000, 1, 500), shape(2000, 1, 200), shape(2000, 1, 300)];
        let mix = Mix::typical(pods, &ModelNames::default());
        let order: Vec<_> = mix.iter().map(|(s, _)| (s.cpu_milli, s.milli)).collect();
        assert_eq!(order, [(2000, 300), (2000, 200), (1000, 500)]);
    }

    #[test]
    fn fragments_are_what_each_shape_cannot_use() {
        let mix = Mix::weighed([(shape(1000, 1, 500), 0.75), (shape(0, 0, 0), 0.25)]);
        let mut node = Node::new(2000, 100, 2, None, 9).unwrap();
        assert_eq!(mix.fragments(&node.room, None), 0.25 * 2000.0, "CPU-only pods use no device");
        node.put(&shape(0, 1, 800), DeviceSet::NONE.with(0));
        assert_eq!(mix.fragments(&node.room, None), 0.75 * 200.0 + 0.25 * 1200.0);
        node.put(&shape(1500, 0, 0), DeviceSet::NONE);
        assert_eq!(mix.fragments(&node.room, None), 1200.0, "no CPU is left for the others");
    }

    #[test]
    fn waste_foresees_that_cpu_runs_out_before_devices_do() {
        let mix = Mix::weighed([(shape(4000, 1, 1000), 1.0)]);
        let node = Node::new(8000, 100, 4, None, 9).unwrap();
        assert_eq!(mix.fragments(&node.room, None), 0.0, "the next pod fits");
        assert_eq!(
            mix.waste(&node.room, None, 0.5),
            0.5 * 2000.0,
            "but CPU for two of the four devices is missing"
        );
        let roomy = Node::new(16_000, 100, 4, None, 9).unwrap();
        assert_eq!(mix.waste(&roomy.room, None, 0.5), 0.0);
    }
}
