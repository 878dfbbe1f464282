CREATE TABLE `retired` (
	`source` varbinary(64) NOT NULL,
	`last` varbinary(2048) NOT NULL,
	`at_ms` bigint NOT NULL,
	CONSTRAINT `retired_source` PRIMARY KEY(`source`)
);
