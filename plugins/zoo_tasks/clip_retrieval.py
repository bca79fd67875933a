"""Pictures found by their captions, and captions by their pictures, with CLIP (Radford et al. 2021,
arXiv:2103.00020) adapted to one's own pairs."""

from zoo import ImageTextRetrieval

zoo_api = 1


class ClipRetrieval(ImageTextRetrieval):
    name = "clip-retrieval"
    summary = "pictures and their captions brought together with CLIP, on your own pairs"
    # OpenAI's repository was long without safetensors weights; LAION's has the same shape
    bases = ("hub:openai/clip-vit-base-patch32", "hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    data = ()
    epochs = 10.0
