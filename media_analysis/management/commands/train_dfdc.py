from media_analysis.management.training import TrainingCommand


class Command(TrainingCommand):
    name = "train_dfdc"
