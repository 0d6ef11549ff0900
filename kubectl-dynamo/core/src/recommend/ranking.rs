//! The order of predictions.

use super::{Prediction, RecommendObjective};
use crate::intent::Topology;

/// Throughputs that differ by less than this share are equal: predictions are not more exact.
const EQUAL_SHARE: f64 = 0.01;

/// Sorts predictions, best first. Of equal ones, the one with fewer GPUs and then the simpler one is better.
pub fn rank(predictions: &mut [Prediction], objective: RecommendObjective) {
    predictions.sort_by(|one, other| match objective {
        RecommendObjective::Throughput => throughput_step(other)
            .cmp(&throughput_step(one))
            .then_with(|| one.gpus().cmp(&other.gpus()))
            .then_with(|| complexity(one).cmp(&complexity(other)))
            .then_with(|| other.tokens_per_second().total_cmp(&one.tokens_per_second())),
        RecommendObjective::MinGpus => one
            .gpus()
            .cmp(&other.gpus())
            .then_with(|| throughput_step(other).cmp(&throughput_step(one)))
            .then_with(|| complexity(one).cmp(&complexity(other))),
    });
}

/// The throughput on a logarithmic scale, so that steps are shares and the order stays total.
fn throughput_step(prediction: &Prediction) -> i64 {
    let tokens = prediction.tokens_per_second().max(1e-9);
    (tokens.ln() / (1.0 + EQUAL_SHARE).ln()).round() as i64
}

/// Aggregated workers before disaggregated ones, and less parallelism before more.
fn complexity(prediction: &Prediction) -> (usize, u32) {
    let groups = prediction.topology.groups();
    let largest = groups.iter().map(|(_, group)| group.parallelism.gpus()).max().unwrap_or(0);
    let is_disaggregated = matches!(prediction.topology, Topology::Disaggregated { .. });
    (usize::from(is_disaggregated), largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::{Parallelism, WorkerGroup};

    fn prediction(replicas: u32, tensor: u32, tokens_per_gpu: f64) -> Prediction {
        let parallelism = Parallelism { tensor, ..Parallelism::default() };
        let worker = WorkerGroup { replicas, parallelism, ..WorkerGroup::default() };
        let example = Prediction::example(Topology::Aggregated { worker });
        Prediction { tokens_per_second_per_gpu: tokens_per_gpu, ..example }
    }

    fn order(mut predictions: Vec<Prediction>, objective: RecommendObjective) -> Vec<(u32, u32)> {
        rank(&mut predictions, objective);
        let shape = |prediction: &Prediction| {
            let (_, group) = prediction.topology.groups()[0];
            (group.replicas, group.parallelism.tensor)
        };
        predictions.iter().map(shape).collect()
    }

    #[test]
    fn throughput_of_the_deployment_decides_and_not_that_of_a_gpu() {
        // Six of eight GPUs at a higher speed serve less than all eight.
        let predictions = vec![prediction(2, 3, 110.0), prediction(8, 1, 100.0), prediction(4, 2, 100.2)];
        assert_eq!(order(predictions, RecommendObjective::Throughput), [(8, 1), (4, 2), (2, 3)]);
    }

    #[test]
    fn fewest_gpus_win_for_a_load() {
        let predictions = vec![prediction(15, 2, 345.0), prediction(18, 1, 569.0), prediction(9, 2, 500.0)];
        assert_eq!(order(predictions, RecommendObjective::MinGpus), [(18, 1), (9, 2), (15, 2)]);
    }
}
