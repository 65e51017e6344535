from media_analysis.management.training import TrainingCommand


class Command(TrainingCommand):
    name = "detect_original_faces"
