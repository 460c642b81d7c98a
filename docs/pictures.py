"""Pictures of the gallery, which say what they show."""

import matplotlib.pyplot as plt


def checked(block, block_vars, gallery_conf, bbox_inches="tight", **kwargs):
    """Pictures of a block; an error names the axes that lack a label or a title."""
    from sphinx_gallery.scrapers import matplotlib_scraper

    for number in plt.get_fignums():
        figure = plt.figure(number)
        for axes in figure.axes:
            missing = missing_words(figure, axes)
            if missing:
                # Or the examples that follow would be blamed for it, too.
                plt.close("all")
                raise ValueError(
                    f"A picture of {block_vars['src_file']} got no {missing}; set it, "
                    "with its unit."
                )
    return matplotlib_scraper(
        block, block_vars, gallery_conf, bbox_inches="tight", **kwargs
    )


def missing_words(figure, axes):
    """What nobody said of axes, or an empty string."""
    if not axes.axison or not axes.get_visible():
        return ""
    is_bar = axes.get_label() == "<colorbar>"
    words = {
        "label of an axis": axes.get_xlabel() or axes.get_ylabel(),
        "title": is_bar or axes.get_title() or figure.get_suptitle(),
    }
    return " and no ".join(name for name, said in words.items() if not said)
