"""PVeRA: VeRA whose update is drawn anew in every training step from a trained distribution."""

from zoo_methods.vera import Vera

zoo_api = 1


class Pvera(Vera):
    name = "pvera"
    summary = "VeRA with a trained distribution of updates"
    paper = "Fillioux et al. 2025, arXiv:2512.07703"
    peft_type = "PVERA"
    peft_names = {"dropout": "pvera_dropout"}
