-- Tools that agents declare, and turns that wait for a person.

-- How often the model may call tools in one turn; null is the node's limit.
alter table agents add column max_iterations integer check (max_iterations >= 1);
-- The declared tools, in order.
alter table agents add column tools text not null default '[]' check (json_valid(tools));

-- When nobody's answer counts any more.
alter table turns add column parked_until integer check ((state = 'parked') = (parked_until is not null));

create index turns_parked on turns (parked_until) where state = 'parked';
