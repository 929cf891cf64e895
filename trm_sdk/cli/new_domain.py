import click


@click.command("new-domain")
def new_domain():
    pass
