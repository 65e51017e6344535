from media_analysis.management.training import TrainingCommand


class Command(TrainingCommand):
    name = "predict_submission"
