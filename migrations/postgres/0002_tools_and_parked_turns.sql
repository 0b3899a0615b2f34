-- Tools that agents declare, and turns that wait for a person.

alter table agents
    -- How often the model may call tools in one turn; null is the node's limit.
    add column max_iterations integer check (max_iterations >= 1),
    -- The declared tools, in order. json: written and read whole, never searched.
    add column tools json not null default '[]';

-- When nobody's answer counts any more.
alter table turns add column parked_until timestamptz;
alter table turns add constraint turns_parked_expires check ((state = 'parked') = (parked_until is not null)) not valid;

-- Empty when it is made, but making it reads the whole table: with very many turns, make it `concurrently` by hand first.
create index if not exists turns_parked on turns (parked_until) where state = 'parked';
