CREATE TABLE `unseen` (
	`id` varbinary(16) NOT NULL,
	`at` datetime(3) NOT NULL,
	CONSTRAINT `unseen_id` PRIMARY KEY(`id`)
);
