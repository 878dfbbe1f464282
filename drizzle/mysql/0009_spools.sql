CREATE TABLE `spools` (
	`id` varbinary(16) NOT NULL,
	`at` datetime(3) NOT NULL,
	CONSTRAINT `spools_id` PRIMARY KEY(`id`)
);
