"""What mteb 2.26.24 calls things that mteb 1.1.1 calls otherwise: the main scores, and the similarity in the names of metrics."""

from harness.core.tasks import TaskType

MAIN_SCORES: dict[TaskType, str] = {
    "Classification": "accuracy",
    "Clustering": "v_measure",
    "PairClassification": "max_accuracy",
    "Reranking": "map_at_1000",
    "Retrieval": "ndcg_at_10",
    "STS": "cosine_spearman",
}
"""What stands under `main_score`, by type of task."""

STAND_INS = {kind: MAIN_SCORES[kind] for kind in ("PairClassification", "Reranking")}
"""The main scores that are not the number of the 35 tasks' main metric, `cos_sim.ap` and `map`."""


def mteb1_metric(name: str) -> str:
    """The flat name of mteb 1.1.1 for one of mteb 2, or of mteb from 1.12 on: `cos_sim_spearman` for `cosine_spearman`."""
    return f"cos_sim_{name.removeprefix('cosine_')}" if name.startswith("cosine_") else name


def mteb2_metric(name: str) -> str:
    """The flat name of mteb 2 for one of mteb 1.1.1: `cosine_spearman` for `cos_sim_spearman`."""
    return f"cosine_{name.removeprefix('cos_sim_')}" if name.startswith("cos_sim_") else name
