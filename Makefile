PRIVATE = python3 -m compose.private

.PHONY: help up test demo chaos bench lint openapi lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 14

up: ## run the whole platform until Ctrl-C; PORT=8001 and FLOWER_PORT=5556 choose other ports
	@$(PRIVATE) up

test: ## run every test against servers of its own; ARGS="-k retry" goes to pytest
	@$(PRIVATE) test $(ARGS)

demo: ## run the main kinds of jobs end to end, against servers of its own
	@$(PRIVATE) demo $(ARGS)

chaos: ## break everything under load; SCENARIO=broker-wiped SEED=7 plays one again, MUTATION=relay-off breaks us
	@$(PRIVATE) chaos $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(SEED),--seed $(SEED)) \
		$(if $(MUTATION),--mutation $(MUTATION)) $(ARGS)

bench: ## measure us beside our peers, in half an hour; QUICK=1 takes 3 minutes, NAME=drain measures one contest
	@$(PRIVATE) bench $(NAME) $(if $(QUICK),--quick) $(ARGS)

lint: ## check style, types, imports and the compose files
	@$(PRIVATE) lint

openapi: ## write docs/openapi.json anew, after a change of the API
	@$(PRIVATE) openapi

lock: ## lock requirements/*.in with hashes; ARGS=--upgrade takes new versions (maintainers)
	@$(PRIVATE) lock $(ARGS)

clean: ## end what a killed run left behind, delete var/ and .venv/
	@$(PRIVATE) clean
